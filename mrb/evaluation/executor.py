"""Who scores: this process (`in_process`), or others that are handed queries (`mrb.parallel`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Protocol

from mrb.evaluation import environment
from mrb.evaluation.failures import Allowance, score_most
from mrb.evaluation.journal import Record
from mrb.evaluation.plan import Entry, Plan, asked
from mrb.evaluation.score import score_all
from mrb.evaluation.task_spec import Choice
from mrb.rerankers.calling import closed_after
from mrb.rerankers.declaration import LoadedReranker, load_reranker
from mrb.results.schema import RerankerInfo


class Score(Protocol):
    """Scores entries of one plan."""

    def __call__(self, entries: Iterable[Entry], allowance: Allowance | None = None) -> Iterator[Record]:
        """The scores of each entry, in the order in which they come.

        Without an allowance the first failure is raised, as `score_all` does; with one, as `score_most`.
        """
        ...


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

    def open(self, choice: Choice, plan: Plan) -> Score:
        """Make ready to score entries of `plan`, which was made of `choice`, and give the function that does it."""
        ...


Start = Callable[[str, Mapping[str, str]], AbstractContextManager[Executor]]
"""From `--model` and `--set` to an executor, for the length of a `with` block."""


class InProcess:
    """The executor of one instance in this process."""

    workers = 1

    def __init__(self, reranker: LoadedReranker) -> None:
        self._reranker = reranker

    @property
    def info(self) -> RerankerInfo:
        """What the reranker declares."""
        return self._reranker.info

    def packages(self) -> dict[str, str]:
        """Versions of the packages that are imported now."""
        return environment.packages()

    def open(self, choice: Choice, plan: Plan) -> Score:
        """Nothing is to be made ready: the plan's data is loaded."""
        return partial(self._score, plan)

    def _score(self, plan: Plan, entries: Iterable[Entry], allowance: Allowance | None = None) -> Iterator[Record]:
        info, where = self.info, plan.data.task.id
        requests = asked(plan, entries, info.kind, uses_first_stage=info.uses_first_stage)
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
    with closed_after(reranker.close):
        yield InProcess(reranker)
