"""The queue of a task's work: pieces are handed out in order, a few at a time, as workers ask for them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from mrb.evaluation.failures import FailureBudget
from mrb.parallel.messages import Piece

AT_ONCE = 8
"""Largest number of queries per answer: enough to make asking cheap, few enough not to wait long in a slow worker."""

InHand = dict[str, Piece]
"""The unanswered pieces of a worker by key, in the order in which it got them."""


class WorkQueue:
    """A queue of pieces of work, with `at_once` per answer at most. `budget` counts failures; None permits none.

    The pieces of a lost worker are handed out again one by one, each to a worker that holds nothing else and gets
    nothing more until it answers. If that worker is lost too, its one piece is the likely cause.
    """

    def __init__(self, pieces: Iterable[Piece], at_once: int = AT_ONCE, budget: FailureBudget | None = None) -> None:
        self.budget = budget
        self._left = deque(pieces)
        self._at_once = at_once
        self._suspects: deque[Piece] = deque()
        self._alone: set[str] = set()
        self._losses: Counter[str] = Counter()
        self._unanswered = len(self._left)

    @property
    def has_work(self) -> bool:
        """True if there are pieces to hand out."""
        return bool(self._suspects or self._left)

    @property
    def is_finished(self) -> bool:
        """True if every piece is answered."""
        return self._unanswered == 0

    def take(self, in_hand: InHand, workers: int) -> Sequence[Piece]:
        """Return the next pieces for one of `workers` workers and add them to its `in_hand`.

        Returns none if it must finish those first. An adapter that batches across queries reads far ahead of its
        answers. So a worker holds at most an equal share of the pieces still in the queue. The shares shrink towards
        the end, and all workers end at about the same time. A worker that holds nothing always gets a piece if there
        is one.
        """
        if self._alone & in_hand.keys():
            return []
        if self._suspects and not in_hand:
            taken = [self._suspects.popleft()]
            self._alone.add(taken[0][0])
        else:
            share = -(-len(self._left) // max(1, workers))
            taken = [self._left.popleft() for _ in range(min(self._at_once, max(0, share - len(in_hand))))]
        in_hand |= {piece[0]: piece for piece in taken}
        return taken

    def accept(self, in_hand: InHand, key: str) -> bool:
        """Note the answer of a worker; return False if it does not hold the piece."""
        if in_hand.pop(key, None) is None:
            return False
        self._alone.discard(key)
        self._unanswered -= 1
        return True

    def requeue(self, in_hand: InHand) -> None:
        """Queue the pieces of a lost worker again; each of them may have caused the loss."""
        self._suspects.extend(in_hand.values())
        self._alone -= in_hand.keys()
        in_hand.clear()

    def count_loss(self, key: str) -> int:
        """Count a worker that was lost with only this piece in hand, and return the number of such workers."""
        self._losses[key] += 1
        return self._losses[key]
