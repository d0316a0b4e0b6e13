"""`--allow-failures N`: up to N pairs may fail; they are recorded without a score, ranked last, counted and published.

A failed pair is NaN in journals and in memory, and null in `scores.parquet`. A NaN that an adapter returns counts as a
failure. Without the option the first failure ends the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from mrb.errors import AdapterError, DataError, MRBError
from mrb.evaluation.plan import Float32, PlannedRequest
from mrb.evaluation.score import score_all
from mrb.rerankers.declaration import LoadedReranker


class FailureBudget:
    """Counts failed pairs (or other `things`) and raises once more than `allowed` have failed."""

    def __init__(self, allowed: int, failed: int = 0, things: str = "pairs") -> None:
        self.allowed = allowed
        self.failed = failed
        self.things = things

    def spend(self, pairs: int, error: MRBError) -> None:
        """Count `pairs` that failed with `error`. If more than allowed have failed, raise it with the count."""
        self.failed += pairs
        if self.failed > self.allowed:
            raise type(error)(f"{error} (failed {self.things}: {self.failed}, allowed: {self.allowed})") from error


def score_with_failures(
    reranker: LoadedReranker, asked: Iterable[PlannedRequest], where: str, budget: FailureBudget
) -> Iterator[tuple[PlannedRequest, Float32]]:
    """Score like `score_all`, but score a failed request again pair by pair, with NaN for each pair that fails.

    The pairs of a setwise or listwise request fail together, because each score depends on all of them.
    """
    iterator = iter(asked)
    for first in iterator:
        taken: dict[int, PlannedRequest] = {}
        try:
            for item, scores in score_all(reranker, _record_requests(first, iterator, taken), where):
                del taken[item.request.key]
                yield item, scores
        except (AdapterError, DataError):
            # Requests in flight are scored again, one at a time; the loop continues with the rest.
            for item in list(taken.values()):
                yield item, _score_again(reranker, item, where, budget)


def count_failed(scores: Mapping[str, Float32]) -> int:
    """Return how many pairs have no score."""
    return sum(int(np.isnan(of_query).sum()) for of_query in scores.values())


def _record_requests(
    first: PlannedRequest, rest: Iterator[PlannedRequest], taken: dict[int, PlannedRequest]
) -> Iterator[PlannedRequest]:
    """Yield `first` and then `rest`, and add each to `taken` before it is yielded."""
    taken[first.request.key] = first
    yield first
    for item in rest:
        taken[item.request.key] = item
        yield item


def _score_again(reranker: LoadedReranker, item: PlannedRequest, where: str, budget: FailureBudget) -> Float32:
    """Score a failed request again; return its scores in first-stage order, NaN for pairs that fail again."""
    count = len(item.request.candidates)
    try:
        return next(scores for _, scores in score_all(reranker, [item], where))
    except (AdapterError, DataError) as error:
        if reranker.info.kind != "pointwise":
            budget.spend(count, error)
            return np.full(count, np.nan, np.float32)
    in_request_order = np.full(count, np.nan, np.float32)
    for position in range(count):
        try:
            alone = item.subset([position], item.request.key)
            in_request_order[position] = next(scores for _, scores in score_all(reranker, [alone], where))[0]
        except (AdapterError, DataError) as error:
            budget.spend(1, error)
    return item.in_first_stage_order(in_request_order)
