"""Who scores what: queries in the plan's order, handed out a few at a time as workers ask for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from mrb.parallel.messages import Span

AT_ONCE = 8
"""Queries in an answer: enough that asking costs nothing, few enough that none waits for a slow worker for long."""


class Shares:
    """The queries of a task that are still to be handed out to `workers` processes; their number may change."""

    def __init__(self, spans: Iterable[Span], workers: int) -> None:
        self._left = deque(spans)
        self.workers = workers

    def __len__(self) -> int:
        return len(self._left)

    def take(self, in_hand: int) -> Sequence[Span]:
        """The next queries for a worker that has `in_hand` of them unanswered; none if there are no more for it now.

        An adapter that batches over queries reads far ahead of its answers. So that it leaves enough for the others, a
        worker holds at most an equal share of what is not handed out yet: shares get smaller towards the end, and all
        workers end at about the same time. A worker that holds nothing always gets what there is.
        """
        share = -(-len(self._left) // self.workers)
        return [self._left.popleft() for _ in range(min(AT_ONCE, max(0, share - in_hand)))]

    def give_back(self, spans: Sequence[Span]) -> None:
        """Put spans that were taken and not scored before all others."""
        self._left.extendleft(reversed(spans))
