"""Who scores: this process (`in_process`), or others that are handed queries (`mrb.workers`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from mrb.declaration import LoadedReranker, load_reranker
from mrb.evaluate import environment
from mrb.evaluate.choice import Choice
from mrb.evaluate.failures import Allowance, score_most
from mrb.evaluate.plan import Entry, Plan, asked
from mrb.evaluate.score import score_all
from mrb.journal import Record
from mrb.results import RerankerInfo


class Executor(Protocol):
    """A reranker that is built and ready, wherever it runs. It scores; what becomes of scores is the run's business."""

    @property
    def info(self) -> RerankerInfo:
        """What the reranker declares."""
        ...

    @property
    def workers(self) -> int:
        """How many instances of the reranker score at a time."""
        ...

    def packages(self) -> dict[str, str]:
        """Versions of the packages that are imported now where the reranker runs."""
        ...

    def open(self, choice: Choice, plan: Plan) -> None:
        """Make ready to score entries of `plan`, which was made of `choice`; does nothing if that is done."""
        ...

    def score(self, entries: Iterable[Entry], allowance: Allowance | None = None) -> Iterator[Record]:
        """The scores of each of the opened plan's `entries`, in the order in which they come.

        Without an allowance the first failure is raised, as `score_all` does; with one, `score_most`.
        """
        ...


Start = Callable[[str, Mapping[str, str]], AbstractContextManager[Executor]]
"""From `--model` and `--set` to an executor, for the length of a `with` block."""


class InProcess:
    """The executor of one instance in this process."""

    workers = 1

    def __init__(self, reranker: LoadedReranker) -> None:
        self._reranker = reranker
        self._plan: Plan | None = None

    @property
    def info(self) -> RerankerInfo:
        """What the reranker declares."""
        return self._reranker.info

    def packages(self) -> dict[str, str]:
        """Versions of the packages that are imported now."""
        return environment.packages()

    def open(self, choice: Choice, plan: Plan) -> None:
        """Score from this plan; its data is loaded."""
        self._plan = plan

    def score(self, entries: Iterable[Entry], allowance: Allowance | None = None) -> Iterator[Record]:
        """As `Executor.score`."""
        assert self._plan is not None, "a plan is opened before it is scored"
        info, where = self.info, self._plan.data.task.id
        requests = asked(self._plan, entries, info.kind, uses_first_stage=info.uses_first_stage)
        if allowance is None:
            scored = score_all(self._reranker, requests, where)
        else:
            scored = score_most(self._reranker, requests, where, allowance)
        for item, scores in scored:
            yield Record(item.entry.query_id, item.entry.first, scores)


@contextmanager
def in_process(model: str, options: Mapping[str, str]) -> Iterator[InProcess]:
    """Build the reranker here, and close it at the end."""
    reranker = load_reranker(model, options)
    try:
        yield InProcess(reranker)
    finally:
        reranker.close()
