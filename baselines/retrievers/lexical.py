"""The text analyser shared by all lexical baselines, and BM25 over its words."""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from collections.abc import Sequence

import Stemmer

# Lucene's English stop words (org.apache.lucene.analysis.en.EnglishAnalyzer), copied so that no release of a dependency
# can change a list.
STOPWORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "for",
        "if",
        "in",
        "into",
        "is",
        "it",
        "no",
        "not",
        "of",
        "on",
        "or",
        "such",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "will",
        "with",
    ]
)
K1 = 1.2
B = 0.75
_WORD = re.compile(r"\w+")
_LOCAL = threading.local()  # a stemmer has a cache and is not thread-safe


def tokenize(text: str) -> list[str]:
    """Return the analysed words of `text`, in order.

    Lower case, runs of letters, digits and `_`, without English stop words, stemmed by Snowball's English stemmer. In
    text without word breaks (Chinese, Japanese) a run is one word.
    """
    kept = [word for word in _WORD.findall(text.lower()) if word not in STOPWORDS]
    return list(_get_stemmer().stemWords(kept))


def score_bm25(query: Sequence[str], documents: Sequence[Sequence[str]], k1: float = K1, b: float = B) -> list[float]:
    """Return the BM25 score of each of a few documents, with statistics from these documents only.

    Lucene's form, as `bm25s` computes it: sum over the query's words of
    ln(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * length / mean length)).
    """
    counts = [Counter(document) for document in documents]
    total = sum(len(document) for document in documents)
    if not total:
        return [0.0] * len(documents)
    mean = total / len(documents)
    idf = {word: _compute_idf(sum(word in count for count in counts), len(documents)) for word in set(query)}
    scores = []
    for document, count in zip(documents, counts, strict=True):
        norm = k1 * (1 - b + b * len(document) / mean)
        scores.append(math.fsum(idf[word] * count[word] / (count[word] + norm) for word in query if word in count))
    return scores


def _compute_idf(frequency: int, documents: int) -> float:
    return math.log(1 + (documents - frequency + 0.5) / (frequency + 0.5))


def _get_stemmer() -> Stemmer.Stemmer:
    if not hasattr(_LOCAL, "stemmer"):
        _LOCAL.stemmer = Stemmer.Stemmer("english")
    return _LOCAL.stemmer
