"""A training group as stored on disk: one query, its relevant documents and its negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mrb.data.items import Item


@dataclass(frozen=True)
class TrainingItem:
    """A query or a document. `id` is the source's own id, for display.

    A hard negative has the `rank` (from 1) and `score` of a first stage; a random negative has neither.
    """

    item: Item
    id: str = ""
    rank: int | None = None
    score: float | None = None


@dataclass(frozen=True)
class TrainingGroup:
    """One query with its documents. Training decides how many of them a step sees, and which."""

    instruction: str
    source: str
    query: TrainingItem
    positives: Sequence[TrainingItem]
    negatives: Sequence[TrainingItem]

    @property
    def hard(self) -> list[TrainingItem]:
        """The negatives that a first stage retrieved, best rank first."""
        return sorted((n for n in self.negatives if n.rank is not None), key=lambda n: n.rank or 0)

    @property
    def random(self) -> list[TrainingItem]:
        """The negatives that were sampled from the corpus."""
        return [negative for negative in self.negatives if negative.rank is None]
