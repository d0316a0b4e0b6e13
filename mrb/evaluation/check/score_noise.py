"""Compare two scorings of the same pairs, and define what counts as numeric noise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mrb.evaluation.check.probe import Scores
from mrb.results.schema import Kind

TOLERANCE = 0.05
"""The largest difference that counts as noise. For scores it is in standard deviations of the task's scores in the
probe. For orders (listwise) it is the share of candidate pairs that change places. `docs/checking.md` gives the
reason for the value."""

DRIFT_REQUESTS = 8
"""Smallest number of changed requests that count as a drift if all changed in one direction (chance: 1 in 128)."""


@dataclass(frozen=True)
class Difference:
    """The difference between two scorings of one request.

    `size` is on the scale of TOLERANCE, and 0 for identical bits. `doc_id` is the candidate that changed most, with the
    scores `before` and `after`; it is None if orders are compared. `shift` is the sum of the request's score changes.
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
        """True if the difference is too large to be noise."""
        return self.size > TOLERANCE


def compute_spread(scores: Scores) -> float:
    """Return the standard deviation of all scores of a task's probe."""
    return float(np.std([score for of_query in scores.values() for score in of_query.values()]))


def compare_scores(kind: Kind, task_id: str, before: Scores, after: Scores, scale: float) -> list[Difference]:
    """Return one difference for each request of `after`; `before` must hold the same pairs.

    `scale` is the task's `compute_spread`. If it is 0, any change of a score has infinite size.
    """
    if kind == "listwise":
        return [_compare_orders(task_id, query_id, before[query_id], scores) for query_id, scores in after.items()]
    return [_compare_values(task_id, query_id, before[query_id], scores, scale) for query_id, scores in after.items()]


def is_drift(differences: Iterable[Difference]) -> bool:
    """Return whether many requests changed, all in one direction: a state that grows, however slowly."""
    shifts = [difference.shift for difference in differences if difference.shift]
    return len(shifts) >= DRIFT_REQUESTS and len({shift > 0 for shift in shifts}) == 1


def _compare_values(
    task_id: str, query_id: str, before: Mapping[str, float], after: Mapping[str, float], scale: float
) -> Difference:
    moved = {doc_id: abs(score - before[doc_id]) for doc_id, score in after.items()}
    doc_id = max(moved, key=lambda name: moved[name])
    distance = moved[doc_id]
    size = 0.0 if distance == 0 else distance / scale if scale > 0 else math.inf
    shift = math.fsum(score - before[name] for name, score in after.items())
    return Difference(size, task_id, query_id, doc_id, before[doc_id], after[doc_id], shift)


def _compare_orders(task_id: str, query_id: str, before: Mapping[str, float], after: Mapping[str, float]) -> Difference:
    pairs = list(combinations(after, 2))
    swapped = sum((before[a] < before[b]) != (after[a] < after[b]) for a, b in pairs)
    return Difference(swapped / max(len(pairs), 1), task_id, query_id)
