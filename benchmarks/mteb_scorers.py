"""Scorers that mteb and MRB both ask, with an adapter for each side: used by `mteb_side_by_side.py`.

A score depends on what a pair holds (its texts, the pixels of its images), never on ids: where the two sides hand out
other contents, their scores differ and the comparison fails.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Content = tuple[str, bytes]
"""The text of an item, and a hash of its pixels (empty without an image)."""


class Scorer(Protocol):
    """Scores pairs of contents."""

    name: str

    def score(self, pairs: Sequence[tuple[Content, Content]]) -> list[float]:
        """Return a score a pair."""
        ...


class HashScorer:
    """A pseudo-random score of the contents, rounded as a model's dtype or head would."""

    def __init__(self, name: str, rounded: Callable[[float], float]) -> None:
        self.name = name
        self._rounded = rounded

    def score(self, pairs: Sequence[tuple[Content, Content]]) -> list[float]:
        """Return a score a pair."""
        return [self._rounded(_hash_pair(query, document)) for query, document in pairs]


class CrossEncoderScorer:
    """A tiny BERT cross-encoder of random weights, for texts."""

    name = "cross-encoder"

    def __init__(self) -> None:
        from harness_data import checkpoint
        from sentence_transformers import CrossEncoder

        with tempfile.TemporaryDirectory() as scratch:
            self._model = CrossEncoder(str(checkpoint(Path(scratch) / "model")), device="cpu", max_length=64)

    def score(self, pairs: Sequence[tuple[Content, Content]]) -> list[float]:
        """Return a score a pair; one pair a batch, so that padding moves none."""
        texts = [(query[0], document[0]) for query, document in pairs]
        return [float(score) for score in self._model.predict(texts, batch_size=1, show_progress_bar=False)]


def _hash_pair(query: Content, document: Content) -> float:
    digest = hashlib.sha256(repr((query, document)).encode()).digest()
    return int.from_bytes(digest[:3], "big") / 2**24  # exact in float32


def _round_to_bfloat16(score: float) -> float:
    bits = int(np.float32(score).view(np.uint32))
    return float(np.uint32((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32))


SCORERS: dict[str, Callable[[], Scorer]] = {
    "float32": lambda: HashScorer("float32", float),
    "bfloat16": lambda: HashScorer("bfloat16", _round_to_bfloat16),
    "four-levels": lambda: HashScorer("four-levels", lambda score: float(int(4 * score))),
    "cross-encoder": CrossEncoderScorer,
}
"""No ties; the ties of a head in bfloat16; a judge of four grades; a real model."""


class MRBSide:
    """An adapter of MRB."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def score(self, request: Any) -> list[float]:
        """Return the scorer's scores of a request."""
        query = _read_item(request.query)
        return self._scorer.score([(query, _read_item(item)) for item in request.candidates])


class MtebSide:
    """A cross-encoder of mteb."""

    def __init__(self, scorer: Scorer) -> None:
        from mteb.models.model_meta import ModelMeta

        self._scorer = scorer
        known = {"name": f"benchmark/{scorer.name}", "revision": "1", "modalities": ["text", "image"]}
        self.mteb_model_meta = ModelMeta.create_empty(known | {"model_type": ["cross-encoder"]})

    def predict(self, inputs1: Any, inputs2: Any, **options: Any) -> Any:
        """Return the scorer's scores of mteb's batches."""
        sides = ([content for batch in side for content in _read_batch(batch)] for side in (inputs1, inputs2))
        return np.array(self._scorer.score(list(zip(*sides, strict=True))))


def _read_item(item: Any) -> Content:
    return item.text, _hash_pixels(item.image.open()) if item.image is not None else b""


def _read_batch(batch: Any) -> list[Content]:
    texts, images = batch.get("text"), batch.get("image")
    count = len(texts if texts is not None else images)
    return [
        (texts[n] if texts is not None else "", _hash_pixels(images[n]) if images is not None else b"")
        for n in range(count)
    ]


def _hash_pixels(image: Any) -> bytes:
    return hashlib.sha256(np.asarray(image.convert("RGB")).tobytes()).digest()
