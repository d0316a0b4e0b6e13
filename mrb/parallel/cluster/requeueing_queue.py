"""What is handed out of one task, to whom, and what becomes of it when who holds it is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from mrb.evaluation.failures import Allowance
from mrb.evaluation.task_spec import Choice
from mrb.parallel.cluster.worker_handle import Member
from mrb.parallel.messages import Span
from mrb.parallel.work_queue import Shares


class Handing:
    """The queries of one call of `Score`. A worker's `in_hand` has the spans that it has not answered, by query."""

    def __init__(self, choice: Choice, spans: Iterable[Span], allowance: Allowance | None) -> None:
        self.choice = choice
        self.allowance = allowance
        self._shares = Shares(spans, 1)
        self._suspects: deque[Span] = deque()
        self._alone: set[str] = set()
        self._open = len(self._shares)

    @property
    def left(self) -> bool:
        """Whether anything is to be handed out."""
        return bool(self._suspects) or len(self._shares) > 0

    @property
    def over(self) -> bool:
        """Whether every query is answered."""
        return self._open == 0

    def take(self, member: Member, workers: int) -> Sequence[Span]:
        """What a worker that asks gets, one of `workers` that are there.

        What a lost worker held is handed out again one by one, each to a worker that holds nothing else and gets
        nothing more until it is answered: if that one is lost too, it is known by what.
        """
        self._shares.workers = max(1, workers)
        if self._alone & member.in_hand.keys():
            return []
        taken: Sequence[Span]
        if self._suspects and not member.in_hand:
            taken = [self._suspects.popleft()]
            self._alone.add(taken[0][0])
        else:
            taken = self._shares.take(len(member.in_hand))
        member.in_hand |= {span[0]: span for span in taken}
        return taken

    def answered(self, member: Member, query_id: str) -> None:
        """The worker has scored a query that it held."""
        del member.in_hand[query_id]
        self._alone.discard(query_id)
        self._open -= 1

    def give_back(self, member: Member) -> None:
        """Hand out again what a lost worker holds: all of it is suspected to be what ended it."""
        self._suspects.extend(member.in_hand.values())
        self._alone -= member.in_hand.keys()
        member.in_hand.clear()
