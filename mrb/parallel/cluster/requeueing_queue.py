"""The work queue of one task on a cluster, which hands out the queries of lost workers again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from mrb.evaluation.failures import FailureBudget
from mrb.evaluation.spec import TaskSpec
from mrb.parallel.cluster.worker_handle import Member
from mrb.parallel.messages import Span
from mrb.parallel.work_queue import Shares


class Handing:
    """The queries of one call of `Score`. A worker's `in_hand` is {query id: span} of its unanswered queries."""

    def __init__(self, spec: TaskSpec, spans: Iterable[Span], allowance: FailureBudget | None) -> None:
        self.spec = spec
        self.allowance = allowance
        self._shares = Shares(spans, 1)
        self._suspects: deque[Span] = deque()
        self._alone: set[str] = set()
        self._open = len(self._shares)

    @property
    def left(self) -> bool:
        """True if there are queries to hand out."""
        return bool(self._suspects) or len(self._shares) > 0

    @property
    def over(self) -> bool:
        """True if every query is answered."""
        return self._open == 0

    def take(self, member: Member, workers: int) -> Sequence[Span]:
        """Return the next queries for a worker; `workers` is the current number of workers.

        The queries of a lost worker are handed out again one by one, each to a worker that holds nothing else and gets
        nothing more until it answers. If that worker is lost too, its one query is the likely cause.
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
        """Note that the worker has scored one of its queries."""
        del member.in_hand[query_id]
        self._alone.discard(query_id)
        self._open -= 1

    def give_back(self, member: Member) -> None:
        """Queue the queries of a lost worker again; each of them may have caused the loss."""
        self._suspects.extend(member.in_hand.values())
        self._alone -= member.in_hand.keys()
        member.in_hand.clear()
