"""Score a plan by workers with one reranker each. Only the command's process writes the run's files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mrb.errors import AdapterError, CandidatesError
from mrb.evaluation.executor import InProcess, Score, Start, open_in_process
from mrb.evaluation.failures import FailureBudget
from mrb.evaluation.journal import Record
from mrb.evaluation.plan import Entry, Plan, load_plan
from mrb.evaluation.spec import TaskSpec
from mrb.parallel.messages import JobSpec, Piece
from mrb.parallel.pool import Connect, WorkerPool, open_pool
from mrb.parallel.work_queue import WorkQueue
from mrb.results.schema import RerankerInfo

logger = logging.getLogger(__name__)


def score_in_workers(connect: Connect, timeout: float | None = None) -> Start:
    """Return an executor with workers for `mrb.evaluation.run.run`. The arguments are those of `open_pool`."""

    @contextmanager
    def start(model: str, options: Mapping[str, str]) -> Iterator[PoolExecutor]:
        with open_pool(connect, ScoringSpec(model, options), timeout) as pool:
            yield PoolExecutor(pool)

    return start


class PoolExecutor:
    """An executor that scores with the workers of a pool."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    @property
    def info(self) -> RerankerInfo:
        """The reranker's declarations, which are equal in all workers."""
        info: RerankerInfo = self._pool.info
        return info

    @property
    def workers(self) -> int:
        """The wanted number of workers."""
        return self._pool.count

    def describe(self) -> str:
        """Return one line on what one of the workers has loaded."""
        loaded: str = self._pool.call("describe")
        return loaded

    def packages(self) -> dict[str, str]:
        """Return {package: version} of the packages that one of the workers has imported."""
        packages: dict[str, str] = self._pool.call("packages")
        return packages

    def open(self, spec: TaskSpec, plan: Plan) -> Score:
        """Load the task's data in the workers, and return the scoring function."""
        self._pool.open(ScoringTask(spec, plan.candidates.sha256), spec.task.id)
        return self._score

    def _score(self, entries: Iterable[Entry], budget: FailureBudget | None = None) -> Iterator[Record]:
        # A piece is (query id, first position in the candidate list, position after the last).
        pieces = ((entry.query_id, entry.first, entry.first + len(entry.doc_ids)) for entry in entries)
        queue = WorkQueue(pieces, budget=budget)
        for _, answer in self._pool.run(queue, partial(self._give_up, budget)):
            yield answer.value

    def _give_up(self, budget: FailureBudget | None, piece: Piece, error: AdapterError) -> Record:
        """Count all pairs of a query that ends workers as failed and return its record. Raise if none may fail."""
        query_id, first, end = piece
        if budget is None:
            raise error
        budget.spend(end - first, error)
        logger.warning(f"{error} ({end - first} pairs failed)")
        return Record(query_id, first, np.full(end - first, np.nan, np.float32))


@dataclass(frozen=True)
class ScoringTask:
    """A task to open: its specification, and the hash that its candidate list must have."""

    spec: TaskSpec
    candidates: str


class ScoringSpec(JobSpec):
    """A reranker by name and options."""

    building = "building the reranker"
    working = "scoring"
    unit = "query"
    kept = "what was scored before is kept, the same command continues"

    @contextmanager
    def start(self) -> Iterator[ScoringJob]:
        """Build the reranker; it is closed after the block."""
        with open_in_process(self.name, self.options) as reranker:
            yield ScoringJob(reranker)


class ScoringJob:
    """A worker's reranker and the open task."""

    def __init__(self, reranker: InProcess) -> None:
        self.info = reranker.info
        self.describe = reranker.describe
        self.packages = reranker.packages
        self._reranker = reranker
        self._opened: tuple[Plan, Score] | None = None

    def open(self, task: ScoringTask) -> None:
        """Load the task's plan. Raises CandidatesError if its list is another than that of the command."""
        self._opened = None  # frees the last task's data before the next task is loaded
        plan = load_plan(task.spec)
        if plan.candidates.sha256 != task.candidates:
            raise CandidatesError(f"candidates of {plan.data.task.id}: the file was changed since the run began")
        self._opened = plan, self._reranker.open(task.spec, plan)

    def process(self, pieces: Iterable[Piece], budget: FailureBudget | None) -> Iterator[tuple[str, Any]]:
        """Yield (query id, record) of each piece."""
        assert self._opened is not None
        plan, score = self._opened
        entries = (plan.entry(query_id).tail(first).head(end - first) for query_id, first, end in pieces)
        for record in score(entries, budget):
            yield record.query_id, record
