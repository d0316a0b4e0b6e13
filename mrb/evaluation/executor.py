"""The interface of what scores a plan: this process (`open_in_process`) or worker processes (`mrb.parallel`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Protocol

from mrb.evaluation import environment
from mrb.evaluation.failures import FailureBudget, score_with_failures
from mrb.evaluation.journal import Record
from mrb.evaluation.plan import Entry, Plan, make_requests
from mrb.evaluation.score import score_all
from mrb.evaluation.spec import TaskSpec
from mrb.rerankers.calling import close_after
from mrb.rerankers.declaration import LoadedReranker, describe_loaded, load_reranker
from mrb.results.schema import RerankerInfo


class Score(Protocol):
    """A function that scores entries of one plan."""

    def __call__(self, entries: Iterable[Entry], budget: FailureBudget | None = None) -> Iterator[Record]:
        """Yield the scores of each entry, in the order of completion.

        Without `budget` the first failure is raised, as in `score_all`; with it, failures are handled as in
        `score_with_failures`.
        """
        ...


class Executor(Protocol):
    """A loaded reranker, in this process or in workers. It only scores; the run stores and measures the scores."""

    @property
    def info(self) -> RerankerInfo:
        """What the reranker declares."""
        ...

    @property
    def workers(self) -> int:
        """Number of instances of the reranker that score in parallel."""
        ...

    def describe(self) -> str:
        """Return one line on what the reranker has loaded (device, dtype, revision), empty if it does not say."""
        ...

    def packages(self) -> dict[str, str]:
        """Return the versions of the packages that are imported now in the process that runs the reranker."""
        ...

    def open(self, spec: TaskSpec, plan: Plan) -> Score:
        """Prepare to score entries of `plan` and return the function that scores them. `plan` was loaded from
        `spec`."""
        ...


Start = Callable[[str, Mapping[str, str]], AbstractContextManager[Executor]]
"""Makes an executor from the values of `--model` and `--set`; it is closed at the end of the `with` block."""


class InProcess:
    """Executor with one instance of the reranker in this process."""

    workers = 1

    def __init__(self, reranker: LoadedReranker) -> None:
        self._reranker = reranker

    @property
    def info(self) -> RerankerInfo:
        """What the reranker declares."""
        return self._reranker.info

    def describe(self) -> str:
        """Return one line on what the reranker has loaded."""
        return describe_loaded(self._reranker)

    def packages(self) -> dict[str, str]:
        """Return the versions of the packages that are imported now."""
        return environment.list_packages()

    def open(self, spec: TaskSpec, plan: Plan) -> Score:
        """Return the function that scores entries of `plan`. Its data is loaded already, so nothing is prepared."""
        return partial(self._score, plan)

    def _score(self, plan: Plan, entries: Iterable[Entry], budget: FailureBudget | None = None) -> Iterator[Record]:
        info, where = self.info, plan.data.task.id
        requests = make_requests(plan, entries, info.kind, uses_first_stage=info.uses_first_stage)
        if budget is None:
            scored = score_all(self._reranker, requests, where)
        else:
            scored = score_with_failures(self._reranker, requests, where, budget)
        for item, scores in scored:
            yield Record(item.entry.query_id, item.entry.first, scores)


@contextmanager
def open_in_process(model: str, options: Mapping[str, str]) -> Iterator[InProcess]:
    """Load the reranker in this process and close it at the end of the `with` block."""
    reranker = load_reranker(model, options)
    with close_after(reranker.close):
        yield InProcess(reranker)
