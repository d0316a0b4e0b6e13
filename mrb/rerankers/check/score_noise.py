"""How far two answers to the same pairs lie apart, and what counts as numeric noise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mrb.rerankers.check.probe import Scores
from mrb.rerankers.reranker import Kind

TOLERANCE = 0.05
"""The largest difference that passes as noise. Of scores: in standard deviations of the task's scores in the probe.
Of orders (listwise): the share of candidate pairs that change places. `docs/checking.md` says why this much."""

DRIFT_REQUESTS = 8
"""So many requests that all moved to one side are no rounding noise: by chance, once in 128 times."""


@dataclass(frozen=True)
class Difference:
    """How far one request's two answers lie apart.

    `size` is on the scale of TOLERANCE, 0 for the same bits. `doc_id` is the candidate that moved most and `before`
    and `after` its scores; None where orders are compared. `shift` is the sum of all changes of the request's scores.
    """

    size: float
    task_id: str
    query_id: str
    doc_id: str | None = None
    before: float = 0.0
    after: float = 0.0
    shift: float = 0.0

    @property
    def broken(self) -> bool:
        """Whether it is too large for noise."""
        return self.size > TOLERANCE


def spread(scores: Scores) -> float:
    """The standard deviation of all scores of a task's probe."""
    return float(np.std([score for of_query in scores.values() for score in of_query.values()]))


def compare(kind: Kind, task_id: str, before: Scores, after: Scores, scale: float) -> list[Difference]:
    """One difference for each request of `after`, whose pairs `before` has scored too.

    `scale` is the task's `spread`; where it is 0, every difference is infinitely large.
    """
    if kind == "listwise":
        return [_of_orders(task_id, query_id, before[query_id], scores) for query_id, scores in after.items()]
    return [_of_scores(task_id, query_id, before[query_id], scores, scale) for query_id, scores in after.items()]


def drifts(differences: Iterable[Difference]) -> bool:
    """Whether all requests that moved, of many, moved to the same side: a state that grows, however slowly."""
    shifts = [difference.shift for difference in differences if difference.shift]
    return len(shifts) >= DRIFT_REQUESTS and len({shift > 0 for shift in shifts}) == 1


def _of_scores(
    task_id: str, query_id: str, before: Mapping[str, float], after: Mapping[str, float], scale: float
) -> Difference:
    moved = {doc_id: abs(score - before[doc_id]) for doc_id, score in after.items()}
    doc_id = max(moved, key=lambda name: moved[name])
    distance = moved[doc_id]
    size = 0.0 if distance == 0 else distance / scale if scale > 0 else math.inf
    shift = math.fsum(score - before[name] for name, score in after.items())
    return Difference(size, task_id, query_id, doc_id, before[doc_id], after[doc_id], shift)


def _of_orders(task_id: str, query_id: str, before: Mapping[str, float], after: Mapping[str, float]) -> Difference:
    pairs = list(combinations(after, 2))
    swapped = sum((before[a] < before[b]) != (after[a] < after[b]) for a, b in pairs)
    return Difference(swapped / max(len(pairs), 1), task_id, query_id)
