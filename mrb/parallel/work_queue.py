"""The work queue of a run: it hands out queries in the plan's order, a few at a time, as workers ask for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from mrb.parallel.messages import Span

AT_ONCE = 8
"""Largest number of queries per answer: enough to make asking cheap, few enough not to wait long in a slow worker."""


class Shares:
    """The queue of a task's queries for `workers` processes. `workers` may change."""

    def __init__(self, spans: Iterable[Span], workers: int) -> None:
        self._left = deque(spans)
        self.workers = workers

    def __len__(self) -> int:
        return len(self._left)

    def take(self, in_hand: int) -> Sequence[Span]:
        """Return the next queries for a worker with `in_hand` unanswered ones, or none if it must finish those first.

        An adapter that batches across queries reads far ahead of its answers. So a worker holds at most an equal share
        of the queries still in the queue. The shares shrink towards the end, and all workers end at about the same
        time. A worker that holds nothing always gets a query if there is one.
        """
        share = -(-len(self._left) // self.workers)
        return [self._left.popleft() for _ in range(min(AT_ONCE, max(0, share - in_hand)))]

    def give_back(self, spans: Sequence[Span]) -> None:
        """Put spans that were taken but not scored back at the front of the queue."""
        self._left.extendleft(reversed(spans))
