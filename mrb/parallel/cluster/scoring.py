"""The executor on a Ray cluster. Only the run's process writes the run's files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import numpy as np

from mrb.errors import AdapterError
from mrb.evaluation.executor import Score
from mrb.evaluation.failures import FailureBudget
from mrb.evaluation.journal import Record
from mrb.evaluation.plan import Entry, Plan
from mrb.evaluation.spec import TaskSpec
from mrb.parallel.cluster.requeueing_queue import Handing
from mrb.parallel.cluster.worker_group import Crew
from mrb.parallel.cluster.worker_handle import Joined, Lost, Member
from mrb.parallel.messages import Ask, Build, Close, Done, Failed, Open, Packages, Raised, Span, Work
from mrb.parallel.process import KEPT, doing_what
from mrb.results.schema import RerankerInfo

logger = logging.getLogger(__name__)

BUILDING = "building the reranker"
NAMING = "naming its packages"
CLOSING = "closing the reranker"


class OnRay:
    """An executor with workers that may join or be lost.

    Each worker builds the reranker, reports its packages, opens the task, and asks for queries. An error in a worker
    ends the run, as on one machine. The queries of a lost worker are handed out again, unless a query ends workers.
    """

    def __init__(self, crew: Crew, build: Build, timeout: float | None) -> None:
        self._crew = crew
        self._build = build
        self._timeout = timeout
        self._info: RerankerInfo | None = None
        self._packages: dict[str, str] | None = None
        self._opened: dict[Member, TaskSpec] = {}
        self._open: Open | None = None
        self._handing: Handing | None = None
        self._working: dict[Member, Handing] = {}
        while self._packages is None:
            self._round()

    @property
    def info(self) -> RerankerInfo:
        """The reranker's declarations, which are equal in all workers."""
        assert self._info is not None, "the first worker has built before anything is asked"
        return self._info

    @property
    def workers(self) -> int:
        """The wanted number of workers."""
        return self._crew.size

    def packages(self) -> dict[str, str]:
        """Return {package: version} of the packages that one of the workers has imported."""
        self._packages = None
        while self._packages is None:
            idle = [member for member in self._crew.members if not member.doing]
            if idle and not any(member.doing == NAMING for member in self._crew.members):
                idle[0].tell(Packages(), NAMING)
            self._round()
        return self._packages

    def open(self, spec: TaskSpec, plan: Plan) -> Score:
        """Load the task's data in each worker, and return the scoring function once the first worker is ready."""
        self._open = Open(spec, plan.candidates.sha256)
        while spec not in self._opened.values():
            self._round()
        return partial(self._score, spec)

    def close(self) -> None:
        """Close the reranker in each idle worker and in each that has answered all its queries.

        Workers that still build the reranker or load a task's data are not waited for.
        """
        self._open, self._crew.hiring = None, False
        ending = [member for member in self._crew.members if not member.doing or member in self._working]
        for member in ending:
            if not member.doing:
                member.tell(Close(), CLOSING)
        while any(member in ending for member in self._crew.members):
            for member, message in self._crew.events():
                if isinstance(message, Raised):
                    raise message.error
                if isinstance(message, Ask):
                    member.tell([])
                elif isinstance(message, Done) and member.doing == CLOSING:
                    self._crew.drop(member)
                elif isinstance(message, Done):
                    member.tell(Close(), CLOSING)

    def _score(
        self, spec: TaskSpec, entries: Iterable[Entry], allowance: FailureBudget | None = None
    ) -> Iterator[Record]:
        spans = ((entry.query_id, entry.first, entry.first + len(entry.doc_ids)) for entry in entries)
        handing = self._handing = Handing(spec, spans, allowance)
        try:
            while not handing.over:
                yield from self._round()
        finally:
            self._handing = None

    def _round(self) -> list[Record]:
        """Handle the messages of one worker, assign work to idle workers, and return the received records."""
        found: list[Record] = []
        for member, message in self._crew.events(self._timeout):
            if isinstance(message, Record):
                if self._handing is not None and message.query_id in member.in_hand:
                    self._handing.answered(member, message.query_id)
                    found.append(message)
                    self._crew.worked()
            elif isinstance(message, Lost):
                found += self._lost(member, message)
            else:
                self._heard(member, message)
        for member in self._crew.members:
            if not member.doing:
                self._next(member)
        return found

    def _heard(self, member: Member, message: object) -> None:
        if isinstance(message, Joined):
            member.tell(self._build, BUILDING)
        elif isinstance(message, Raised):
            raise message.error
        elif isinstance(message, Ask):
            handing = self._handing
            # A worker that still finishes an earlier call may have another setting for failures.
            ours = handing is not None and self._working.get(member) is handing
            member.tell(handing.take(member, len(self._crew.members)) if handing and ours else [])
        elif isinstance(message, Failed):
            assert self._handing is not None and self._handing.allowance is not None
            self._handing.allowance.spend(message.pairs, message.error)
        elif isinstance(message, Done):
            doing, member.doing = member.doing, ""
            self._working.pop(member, None)
            self._done(member, doing, message.value)

    def _done(self, member: Member, doing: str, value: object) -> None:
        if doing == BUILDING:
            assert isinstance(value, RerankerInfo)
            self._info = self._info or value
            if value != self._info:
                raise AdapterError(
                    f"{value.name}: {member.name} declares other things than the first: name, kind, inputs, version, "
                    "options and source may not depend on the node"
                )
            member.tell(Packages(), NAMING)
        elif doing == NAMING:
            assert isinstance(value, dict)
            self._agree(member, value)
            self._packages = self._packages or value
        elif self._open is not None and doing == _opening(self._open):
            self._opened[member] = self._open.spec

    def _agree(self, member: Member, packages: Mapping[str, str]) -> None:
        before = self._packages or {}
        for name in sorted(before.keys() & packages.keys()):
            if before[name] != packages[name]:
                raise AdapterError(
                    f"{member.name} has {name} {packages[name]}, another worker has {before[name]}: a run's nodes must "
                    "have the same packages"
                )

    def _next(self, member: Member) -> None:
        if self._open is None:
            return
        if self._opened.get(member) != self._open.spec:
            self._opened.pop(member, None)
            member.tell(self._open, _opening(self._open))
        elif self._handing is not None and self._handing.left:
            self._working[member] = self._handing
            member.tell(Work(self._handing.allowance is not None), f"scoring task {self._open.spec.task.id}")

    def _lost(self, member: Member, lost: Lost) -> list[Record]:
        """Queue the queries of a lost worker again. A query that ends workers counts as failed or ends the run."""
        self._opened.pop(member, None)
        self._working.pop(member, None)
        told = f"{member.name} {lost.how} while {doing_what(member.doing or 'waiting', member.in_hand)}"
        if not member.in_hand or self._handing is None:
            self._crew.unused(told, lost)
            logger.warning(f"{told}; the run goes on")
            return []
        if len(member.in_hand) == 1:
            ((query_id, span),) = member.in_hand.items()
            if self._crew.deadly(f"{self._handing.spec.task.id} {query_id}"):
                return [self._given_up(member, span, AdapterError(f"{told}, as did one before it; {KEPT}"))]
        logger.warning(f"{told}; handed out again, the run goes on")
        self._handing.give_back(member)
        return []

    def _given_up(self, member: Member, span: Span, error: AdapterError) -> Record:
        """Count all pairs of a query that ends workers as failed and return its record. Raise if none may fail."""
        query_id, first, end = span
        handing = self._handing
        assert handing is not None
        if handing.allowance is None:
            raise error
        handing.allowance.spend(end - first, error)
        logger.warning(f"{error} ({end - first} pairs failed)")
        handing.answered(member, query_id)
        return Record(query_id, first, np.full(end - first, np.nan, np.float32))


def _opening(command: Open) -> str:
    return f"opening task {command.spec.task.id}"
