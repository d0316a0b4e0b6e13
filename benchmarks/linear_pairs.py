"""A linear baseline for the mini suite: logistic regression on crossed words and colours of both sides.

    cd benchmarks && mrb run --model linear_pairs

Fitted when it is loaded, on the mini suite's training splits: each query's positives and its first stage's negatives.
A side is a set of tokens (stemmed words; for a picture, colour names by quarter and in all); a pair is the set of all
(token of the query, token of the document), hashed to 2^18 columns, beside the handful of likenesses that the reranker
`surface` is made of. It is what gmr-tiny is compared with: the same data, nothing but weights on what can be counted.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from mrb.baselines.rerankers.heuristic import (
    _compute_likeness,
    _make_profile,
    _match_named_colours,
    compute_text_likeness,
)
from mrb.baselines.retrievers.colours import COLOURS
from mrb.baselines.retrievers.features import ImageCache, ImageFeatures, read_image_features
from mrb.baselines.retrievers.lexical import tokenize
from mrb.baselines.synthetic.image_edits import measure_tone
from mrb.data.items import Item
from mrb.data.load import load_task_data
from mrb.data.task import load_task
from mrb.rerankers.reranker import Request
from mrb.retrieval.first_stage import load_first_stage, make_candidates

TASKS = ("faq-t2t", "emoji-i2i", "flag-t2i", "flag-i2t", "flag-t2it", "fact-it2t", "emoji-it2i", "fact-it2it")
NEGATIVES = 8
COLUMNS = 2**18
WORDS = 32  # of a text: what comes later tells little, and crosses are many
SHARE = 0.15  # of a quarter, or a third of it of the whole, for a colour to count
STRENGTH = 1.0

Ints = npt.NDArray[np.int64]


class LinearPairs:
    """Pointwise; covers all inputs."""

    kind = "pointwise"
    version = "1"
    batch_invariant = True

    def __init__(self) -> None:
        self._picture = ImageCache(read_image_features, 10_000)
        self._profile = lru_cache(maxsize=20_000)(_make_profile)
        self._tokens_of: dict[str, Ints] = {}
        rows, labels = [], []
        for query, document, label in training_pairs():
            rows.append(self._features(query, document))
            labels.append(label)
        self._model = LogisticRegression(C=STRENGTH, class_weight="balanced", solver="liblinear")
        self._model.fit(sparse.vstack(rows).tocsr(), labels)

    def score(self, request: Request) -> Sequence[float]:
        rows = sparse.vstack([self._features(request.query, one) for one in request.candidates])
        scores: Sequence[float] = self._model.decision_function(rows.tocsr()).tolist()
        return scores

    def _features(self, query: Item, document: Item) -> sparse.csr_matrix:
        one, other = self._tokens(query), self._tokens(document)
        crossed = (one[:, None] * 1_000_003 + other[None, :]) % COLUMNS
        columns = np.unique(crossed)
        values = np.full(len(columns), 1 / np.sqrt(max(1, len(columns))))
        likeness = self._likenesses(query, document)
        kind = 4 * int(query.image is not None) + 2 * int(document.image is not None) + int(bool(query.text))
        extra = COLUMNS + len(likeness) * kind + np.arange(len(likeness))
        return sparse.csr_matrix(
            (
                np.concatenate([values, likeness]),
                (np.zeros(len(columns) + len(extra), int), np.concatenate([columns, extra])),
            ),
            shape=(1, COLUMNS + 8 * len(likeness)),
        )

    def _likenesses(self, query: Item, document: Item) -> npt.NDArray[np.float64]:
        shown = self._picture(query.image) if query.image else None
        picture = self._picture(document.image) if document.image else None
        found = [0.0] * 5
        if query.text and document.text:
            found[0] = compute_text_likeness(self._profile(query.text), self._profile(document.text))
        if shown and picture:
            found[1] = _compute_likeness(shown, picture)
        if query.text and picture:
            found[2] = _match_named_colours(query.text, picture)
            found[3] = measure_tone(query.text, picture)
        if shown and document.text:
            found[4] = _match_named_colours(document.text, shown)
        return np.asarray(found)

    def _tokens(self, item: Item) -> Ints:
        key = item.content_hash
        if key not in self._tokens_of:
            tokens = [f"w:{word}" for word in tokenize(item.text)[:WORDS]]
            if item.image is not None:
                tokens += _colour_tokens(self._picture(item.image))
            self._tokens_of[key] = np.asarray(
                [zlib.crc32(token.encode()) for token in [*dict.fromkeys(tokens), "any"]], np.int64
            )
        return self._tokens_of[key]


def _colour_tokens(picture: ImageFeatures) -> Iterator[str]:
    whole = picture.colour_map.mean(axis=(0, 1))
    yield from (f"c:{COLOURS[row]}" for row in np.flatnonzero(whole >= SHARE / 3))
    quarters = picture.colour_map.reshape(2, 4, 2, 4, -1).mean(axis=(1, 3))
    for down in range(2):
        for across in range(2):
            yield from (f"q{down}{across}:{COLOURS[row]}" for row in np.flatnonzero(quarters[down, across] >= SHARE))


def training_pairs() -> Iterator[tuple[Item, Item, int]]:
    """(query, document, relevant) of the training splits; the negatives are the first stage's highest."""
    for name in TASKS:
        data = load_task_data(load_task(f"mini-{name}-train"))
        listed = load_task(f"mini-{name}").candidates
        assert listed is not None
        found = make_candidates(
            data, load_first_stage(listed.first_stage), listed.first_stage, 2 * NEGATIVES, "training"
        )
        for query_id in data.queries:
            query, judged = data.queries.item(query_id), data.qrels[query_id]
            others = [doc_id for doc_id in found.get(query_id)[0] if doc_id not in judged][:NEGATIVES]
            for doc_id in [*judged, *others]:
                yield query, data.corpus.item(doc_id), int(doc_id in judged)
