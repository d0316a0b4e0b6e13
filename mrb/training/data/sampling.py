"""Sampling of groups and of their documents for each step, fixed by a seed for any number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from mrb.data.task import Model
from mrb.training.data.group import TrainingGroup, TrainingItem

Ints = npt.NDArray[np.int64]


class Sampling(Model):
    """How documents of a group are sampled, anew at each visit of the group.

    `negatives` documents are not relevant: a fraction `hard` of them from the first stage's ranks `first_rank` to
    `last_rank`, the rest from the corpus; if one kind runs out, the other fills up. `positives` documents are relevant.
    A source is visited in proportion to its number of groups to the power `by_size`: 0 visits all sources equally
    often, 1 in proportion to their groups.
    """

    negatives: int = Field(default=16, ge=1, le=1000)
    hard: float = Field(default=0.5, ge=0, le=1)
    first_rank: int = Field(default=1, ge=1)
    last_rank: int = Field(default=100, ge=1)
    positives: int = Field(default=1, ge=1)
    by_size: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _window(self) -> Sampling:
        if self.last_rank < self.first_rank:
            raise ValueError(f"ranks {self.first_rank} to {self.last_rank}: the last is before the first")
        return self


@dataclass(frozen=True)
class Drawn:
    """The sampled documents of one group: positives, then negatives. `missing` negatives were not available."""

    group: TrainingGroup
    positives: tuple[TrainingItem, ...]
    negatives: tuple[TrainingItem, ...]
    missing: int

    @property
    def documents(self) -> tuple[TrainingItem, ...]:
        """All documents, positives first."""
        return (*self.positives, *self.negatives)


def draw(group: TrainingGroup, sampling: Sampling, seed: Sequence[int]) -> Drawn:
    """Sample documents of `group` by `seed` (a sequence of integers: run, source, row, visit)."""
    rng = np.random.default_rng(list(seed))
    window = [n for n in group.hard if sampling.first_rank <= (n.rank or 0) <= sampling.last_rank]
    wanted = round(sampling.negatives * sampling.hard)
    hard, random = _shuffled(window, rng), _shuffled(group.random, rng)
    taken_hard = min(wanted, len(hard))
    taken_random = min(sampling.negatives - taken_hard, len(random))
    taken_hard = min(sampling.negatives - taken_random, len(hard))
    negatives = (*hard[:taken_hard], *random[:taken_random])
    positives = tuple(_shuffled(group.positives, rng)[: sampling.positives])
    return Drawn(group, positives, negatives, sampling.negatives - len(negatives))


def _shuffled(items: Sequence[TrainingItem], rng: np.random.Generator) -> list[TrainingItem]:
    return [items[place] for place in rng.permutation(len(items))]


def order(sizes: Sequence[int], count: int, by_size: float, seed: int) -> Ints:
    """Return int64[count, 3] of (source, row in the source, visit): the groups of a whole run, in order.

    `sizes` are the sources' numbers of groups. Every stretch of the order holds each source about as often as
    `Sampling.by_size` says. All rows of a source come once before one comes again, which increments its visit.
    """
    rng = np.random.default_rng([seed, len(sizes)])
    shares = np.asarray(sizes, np.float64) ** by_size
    shares /= shares.sum()
    # A source's k-th turn is at (k + u) / share: evenly spread, and turns of different sources do not coincide.
    turns = np.ceil(count * shares).astype(np.int64) + 1
    places = np.concatenate([(np.arange(n) + rng.random()) / share for n, share in zip(turns, shares, strict=True)])
    sources = np.repeat(np.arange(len(sizes)), turns)
    chosen = sources[np.argsort(places, kind="stable")[:count]]
    found = np.empty((count, 3), np.int64)
    found[:, 0] = chosen
    for source, size in enumerate(sizes):
        own = np.flatnonzero(chosen == source)
        visits = -(-len(own) // size)
        rows = np.concatenate([np.empty(0, np.int64), *(rng.permutation(size) for _ in range(visits))])
        found[own, 1] = rows[: len(own)]
        found[own, 2] = np.arange(len(own)) // size
    return found
