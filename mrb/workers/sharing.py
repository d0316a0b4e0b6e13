"""Who scores what: queries in the plan's order, handed out a few at a time as workers ask for them."""

from __future__ import annotations

from collections.abc import Sequence

from mrb.workers.messages import Span

AT_ONCE = 8
"""Queries in an answer: enough that asking costs nothing, few enough that none waits for a slow worker for long."""


class Shares:
    """The queries of a task that are still to be handed out to `workers` processes."""

    def __init__(self, spans: Sequence[Span], workers: int) -> None:
        self._spans = spans
        self._workers = workers
        self._next = 0

    def take(self, in_hand: int) -> Sequence[Span]:
        """The next queries for a worker that has `in_hand` of them unanswered; none if there are no more for it now.

        An adapter that batches over queries reads far ahead of its answers. So that it leaves enough for the others, a
        worker holds at most an equal share of what is not handed out yet: shares get smaller towards the end, and all
        workers end at about the same time. A worker that holds nothing always gets what there is.
        """
        left = len(self._spans) - self._next
        share = -(-left // self._workers)
        first, self._next = self._next, self._next + min(AT_ONCE, max(0, share - in_hand))
        return self._spans[first : self._next]
