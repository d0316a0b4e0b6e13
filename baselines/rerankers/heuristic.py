"""The reranker `surface`: words, colours and shapes, for every kind of query and document, learnt nothing."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mrb.baselines.retrievers.colours import text_colours
from mrb.baselines.retrievers.features import Picture, PictureCache
from mrb.baselines.retrievers.lexical import words
from mrb.baselines.synthetic.flag_layout import layout_match
from mrb.baselines.synthetic.image_edits import changed, tone_match
from mrb.data.items import Item
from mrb.rerankers.reranker import Request

# Weights, set by hand while looking at the development and training splits of the mini suite.
_TRIGRAMS = 0.3  # of the likeness of letters, beside that of words
_COLOURS = 0.5  # of the colours that a text names, beside where it says they are
_TONE = 0.2  # of the skin tone that a text asks for, beside the likeness of pictures
_ASIDE = 0.3  # of text against picture where texts can be compared with texts
_LENGTH = 100  # words of a document at which word counts are taken as they are
_DATED = 0.1  # for a document that states a date or year, where the query asks when

_WHEN = re.compile(r"^when\b|\bwhat (year|date)\b|\bwhich (year|date)\b")
_DATE = re.compile(r"\b(1[0-9]|20)[0-9]{2}\b")


class Surface:
    """A cheap hand-made reranker of any pair, by what both sides have.

    - Text and text: the share of the query's words found in the document, rarer (longer) words weighing more, counts
      damped as in BM25 with a fixed mean length, plus the cosine of letter trigrams.
    - Image and image: likeness of the hand-made picture features that `pixels` searches by. Where the query has a text
      too and the text names a change (another colour, turned round), the query's picture is changed first; a skin tone
      that it names is looked for in the candidate.
    - Text and image, either way: the colours that the text names against the colours shown, and where it says they are
      (bands, field, cross, triangle, corner). It cannot read: against a picture of a page it is no better than chance.

    Covers: all inputs. Pointwise, no corpus statistics. Learnt: nothing. Licence: Apache-2.0, part of MRB.
    """

    kind = "pointwise"
    version = "1"
    batch_invariant = True

    def __init__(self) -> None:
        self._picture = PictureCache()
        self._profile = lru_cache(maxsize=20_000)(_profile)

    def score(self, request: Request) -> Sequence[float]:
        """One score a candidate, about 0 to 2; terms for which a side lacks text or image are left out."""
        query = request.query
        shown = self._picture(query.image) if query.image else None
        wanted = changed(shown, query.text) if shown and query.text else None
        return [self._pair(query, shown, wanted, candidate) for candidate in request.candidates]

    def _pair(self, query: Item, shown: Picture | None, wanted: Picture | None, candidate: Item) -> float:
        picture = self._picture(candidate.image) if candidate.image else None
        score = 0.0
        if query.text and candidate.text:
            score += text_likeness(self._profile(query.text), self._profile(candidate.text))
            score += _DATED * bool(_WHEN.search(query.text.lower()) and _DATE.search(candidate.text))
        if shown and picture:
            score += _likeness(wanted or shown, picture)
            score += _TONE * tone_match(query.text, picture)
        if shown is None and picture:
            score += _told(query.text, picture)
        if shown and picture is None:
            score += _told(candidate.text, shown) * (_ASIDE if query.text else 1.0)
        return score


@dataclass(frozen=True)
class Profile:
    """A text's words and letter trigrams, counted, and the length of the trigram vector."""

    words: Counter[str]
    length: int
    trigrams: Counter[str]
    norm: float


def text_likeness(query: Profile, document: Profile) -> float:
    """Words in common (0 to 1) plus 0.3 times the cosine of letter trigrams.

    A word weighs its number of letters, for frequent words are short (Zipf's law of abbreviation); its count tf in the
    document becomes 2.2 tf / (tf + 1.2 (0.25 + 0.75 length / 100)), BM25's form, but at most 1.
    """
    norm = 1.2 * (0.25 + 0.75 * document.length / _LENGTH)
    total = sum(len(word) for word in query.words)
    found = sum(
        len(word) * min(1.0, 2.2 * document.words[word] / (document.words[word] + norm))
        for word in query.words
        if word in document.words
    )
    small, large = sorted((query.trigrams, document.trigrams), key=len)
    dot = sum(count * large[gram] for gram, count in small.items() if gram in large)
    return (found / total if total else 0.0) + _TRIGRAMS * dot / max(query.norm * document.norm, 1e-12)


def _profile(text: str) -> Profile:
    counted = Counter(words(text))
    spaced = f" {' '.join(text.lower().split())} "
    trigrams = Counter(spaced[start : start + 3] for start in range(len(spaced) - 2))
    norm = math.sqrt(sum(count * count for count in trigrams.values()))
    return Profile(counted, counted.total(), trigrams, norm)


def _likeness(one: Picture, other: Picture) -> float:
    return float(one.vector @ other.vector)


def _told(text: str, picture: Picture) -> float:
    """How well a picture fits what `text` says of colours and where they are, 0 to 1; 0 where it names none."""
    colours = float(text_colours(text) @ picture.palette)
    return _COLOURS * colours + (1 - _COLOURS) * layout_match(text, picture.colour_map)
