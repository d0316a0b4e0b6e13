"""Training groups, and the sampling of groups and of their documents, fixed by a seed for any number of processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from mrb._util.model import Model
from mrb.data.items import Item
from mrb.errors import TrainingError

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrainingItem:
    """A query or a document. `id` is the source's own id, for display.

    A hard negative has the `rank` (from 1) and `score` of a first stage; a random negative has neither. `grade` is how
    relevant a document is, if that is judged; `teacher` is the score that a teacher gives it.
    """

    item: Item
    id: str = ""
    rank: int | None = None
    score: float | None = None
    grade: int | None = None
    teacher: float | None = None


@dataclass(frozen=True)
class TrainingGroup:
    """One query with its documents: all of them, or those that one step sees (`sample_documents`)."""

    instruction: str
    source: str
    query: TrainingItem
    positives: Sequence[TrainingItem]
    negatives: Sequence[TrainingItem]

    @property
    def items(self) -> tuple[TrainingItem, ...]:
        """The query and all documents, positives first."""
        return (self.query, *self.positives, *self.negatives)

    @property
    def hard(self) -> list[TrainingItem]:
        """The negatives that a first stage retrieved, best rank first."""
        return sorted((n for n in self.negatives if n.rank is not None), key=lambda n: n.rank or 0)

    @property
    def random(self) -> list[TrainingItem]:
        """The negatives that were sampled from the corpus."""
        return [negative for negative in self.negatives if negative.rank is None]


class Sampling(Model):
    """How documents of a group are sampled, anew at each visit of the group.

    `negatives` documents are not relevant: a fraction `hard` of them from the first stage's ranks `first_rank` to
    `last_rank`, the rest from the corpus; if one kind runs out, the other fills up. `positives` documents are relevant.
    A source is visited in proportion to its number of groups to the power `by_size`: 0 visits all sources equally
    often, 1 in proportion to their groups. `weights` multiplies this for the sources it names: with 2 a source is
    visited twice as often, with 0 never.
    """

    negatives: int = Field(default=16, ge=1, le=1000)
    hard: float = Field(default=0.5, ge=0, le=1)
    first_rank: int = Field(default=1, ge=1)
    last_rank: int = Field(default=100, ge=1)
    positives: int = Field(default=1, ge=1)
    by_size: float = Field(default=0.0, ge=0, le=1)
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(default={})

    @model_validator(mode="after")
    def _window(self) -> Sampling:
        if self.last_rank < self.first_rank:
            raise ValueError(f"ranks {self.first_rank} to {self.last_rank}: the last is before the first")
        return self


def sample_documents(group: TrainingGroup, sampling: Sampling, seed: Sequence[int]) -> TrainingGroup:
    """Sample the documents that one step sees.

    Args:
        group: All documents of a query.
        sampling: How many of each kind.
        seed: Integers that fix the sample: run, source, row, visit.

    Returns:
        The group with these documents; fewer than `sampling.negatives` negatives if it has not enough of them.
    """
    rng = np.random.default_rng(list(seed))
    window = [n for n in group.hard if sampling.first_rank <= (n.rank or 0) <= sampling.last_rank]
    hard, random = _shuffle(window, rng), _shuffle(group.random, rng)
    wanted_hard = min(round(sampling.negatives * sampling.hard), len(hard))
    from_random = min(sampling.negatives - wanted_hard, len(random))
    negatives = (*hard[: sampling.negatives - from_random], *random[:from_random])
    positives = tuple(_shuffle(group.positives, rng)[: sampling.positives])
    return replace(group, positives=positives, negatives=negatives)


def read_targets(group: TrainingGroup, target: Literal["teacher", "grades"]) -> list[float]:
    """Return the target of each document, positives first: its teacher's score, or its grade.

    Without a grade a positive has grade 1, a negative 0. Raises TrainingError for a document without teacher's score.
    """
    found: list[float] = []
    for side, usual in (("positive", 1), ("negative", 0)):
        for one in group.positives if usual else group.negatives:
            if target == "grades":
                found.append(float(usual if one.grade is None else one.grade))
            elif one.teacher is None:
                raise TrainingError(
                    f"a {side}{f' ({one.id})' if one.id else ''} has no teacher's score; `mrb train data --teacher` "
                    "writes them"
                )
            else:
                found.append(one.teacher)
    return found


def _shuffle(items: Sequence[TrainingItem], rng: np.random.Generator) -> list[TrainingItem]:
    return [items[place] for place in rng.permutation(len(items))]


def deal_groups(costs: npt.NDArray[np.float64], queries: int, processes: int, at_once: int) -> Ints:
    """Order the groups of each step so that the processes that share it have about equal costs.

    From the most costly group of a step on, the next one goes to the process that has the least so far and is not full.
    Each step keeps its groups.

    Args:
        costs: float64[groups], in the order of the run.
        queries: Groups of a step, a multiple of `processes * at_once`.
        processes: How many processes.
        at_once: Groups that follow each other and go to one process; the next ones go to the next process.

    Returns:
        int64[groups]: the places of the groups in the order of the run.
    """
    steps = costs.reshape(-1, queries)
    ranked = np.argsort(-steps, axis=1, kind="stable")
    spent, counts = np.zeros((len(steps), processes)), np.zeros((len(steps), processes), np.int64)
    dealt, step = np.empty_like(ranked), np.arange(len(steps))
    for group in ranked.T:
        least = np.where(counts < queries // processes, spent, np.inf).argmin(1)
        own = counts[step, least]
        dealt[step, (own // at_once * processes + least) * at_once + own % at_once] = group
        spent[step, least] += steps[step, group]
        counts[step, least] += 1
    return (dealt + queries * step[:, None]).reshape(-1)


def order_groups(sizes: Mapping[str, int], count: int, sampling: Sampling, seed: int) -> Ints:
    """Order the groups of a whole run.

    Every stretch of the order holds each source about as often as `by_size` and `weights` of `Sampling` say. All rows
    of a source come once before one comes again, which increments its visit.

    Args:
        sizes: Number of groups of each source, by its name.
        count: Groups of the run.
        sampling: As in `Sampling`.
        seed: Seed of the order.

    Returns:
        int64[count, 3] of (source, row in the source, visit).

    Raises:
        TrainingError: A weight is of no source, or none is left.
    """
    unknown = [name for name in sampling.weights if name not in sizes]
    if unknown:
        raise TrainingError(f"sampling.weights: no source {unknown[0]!r}; there are {', '.join(sizes)}")
    rng = np.random.default_rng([seed, len(sizes)])
    weights = [sampling.weights.get(name, 1.0) for name in sizes]
    shares = np.asarray(list(sizes.values()), np.float64) ** sampling.by_size * weights
    if not shares.any():
        raise TrainingError("sampling.weights: all sources have weight 0")
    shares /= shares.sum()
    # A source's k-th turn is at (k + u) / share: evenly spread, and turns of different sources do not coincide.
    turns = np.where(shares > 0, np.ceil(count * shares).astype(np.int64) + 1, 0)
    places = np.concatenate(
        [(np.arange(n) + rng.random()) / (share or 1) for n, share in zip(turns, shares, strict=True)]
    )
    chosen = np.repeat(np.arange(len(sizes)), turns)[np.argsort(places, kind="stable")[:count]]
    order = np.empty((count, 3), np.int64)
    order[:, 0] = chosen
    for source, size in enumerate(sizes.values()):
        own = np.flatnonzero(chosen == source)
        visits = -(-len(own) // size)
        rows = np.concatenate([np.empty(0, np.int64), *(rng.permutation(size) for _ in range(visits))])
        order[own, 1] = rows[: len(own)]
        order[own, 2] = np.arange(len(own)) // size
    return order
