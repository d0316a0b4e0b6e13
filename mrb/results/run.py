"""Load a run: results, values per query, and averages over tasks and types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mrb._util.hashing import hash_bytes
from mrb._util.parquet import read_untrusted
from mrb.data.task import Suite, Task, TypeName, list_sub_suites, load_suite, load_task
from mrb.data.task_data import find_query_parts
from mrb.errors import ResultError
from mrb.metrics import statistics as stats
from mrb.metrics.aggregation import average_queries
from mrb.metrics.measures import HEADLINE
from mrb.metrics.statistics import Averages, TaskSample, compute_averages
from mrb.results.schema import (
    CLUSTER_COLUMN,
    PER_QUERY_FILE,
    RESULT_FILE,
    RUN_FILE,
    Interval,
    Measures,
    Result,
    RunRecord,
    check_registry,
    read_result,
    read_run,
)
from mrb.results.suite_averages import SubSuiteAverages, SuiteAverages

if TYPE_CHECKING:
    import pandas as pd

Row = Literal["measures", "first_stage", "oracle"]
Float64 = npt.NDArray[np.float64]

DIFFERENT = "candidate set, depth, queries or qrels differ"
"""Why complete tasks have no average."""
RAW = "Raw qrels: documents that the corpus lacks count as missed. Do not compare these numbers with cleaned ones."


@dataclass(frozen=True)
class TaskScores:
    """One task of a run: its result, and the values (float64) of each measure per query, in the task's query order.

    For a submission the values are not read: `values` is empty, and `stated_queries` is the hash of the query ids.
    `definition` is that of a task of the user's own, which the run's files hold.
    """

    result: Result
    query_ids: tuple[str, ...]
    clusters: npt.NDArray[np.int64]
    values: dict[str, Float64]
    stated_queries: str | None = None
    definition: Task | None = None

    @cached_property
    def queries(self) -> str:
        """Hash of the query ids, in order."""
        return self.stated_queries or hash_query_ids(self.query_ids)

    @cached_property
    def task(self) -> Task:
        """The definition of the task: the run's own, or the registry's."""
        return self.definition or load_task(self.result.task)

    @cached_property
    def parts(self) -> tuple[str, ...] | None:
        """Part of each query if the task's score is the mean over its parts, None if it is the mean over queries."""
        return find_query_parts(self.task, self.query_ids)

    def sample(self, measures: Sequence[str]) -> TaskSample:
        """Return the values of `measures` for statistics, one column each."""
        values = np.column_stack([self.values[name] for name in measures])
        clusters = [str(cluster) for cluster in self.clusters]
        return TaskSample(self.result.task, self.task.type, values, clusters, self.parts)

    def per_query(self) -> pd.DataFrame:
        """Return a row for each query: `query_id`, `cluster` (queries that are not independent share one), and a column
        of fractions for each measure."""
        import pandas as pd

        return pd.DataFrame({"query_id": self.query_ids, CLUSTER_COLUMN: self.clusters, **self.values})

    def __repr__(self) -> str:
        own = self.result.measures.get(str(HEADLINE))
        score = f": {HEADLINE} {100 * own.mean:.2f}" if own else ""
        return f"<{self.result.task} of {self.result.reranker.name}{score}>"

    def _repr_html_(self) -> str:
        from mrb.results.html import format_task_html

        return format_task_html(self)


@dataclass(frozen=True)
class Average:
    """A mean over `of` tasks or types, of which `done` are present. `mean` is None unless all are present.

    `interval` is None for the first stage and the oracle, because a run does not store their values per query.
    """

    mean: float | None
    interval: Interval | None
    done: int
    of: int


@dataclass(frozen=True, eq=False)
class Run:
    """A run: its record and the tasks that have a result. Runs compare by object identity.

    `path` is the folder that it was read from or written to, None if nothing was written (`mrb.evaluate` without
    `out`). `stored` has the averages of the run's suite if they were computed before (in a submission), else None.
    `label` is the name of a run without a folder. `run[task_id]` is a task of the run; iteration gives the task ids.
    """

    path: Path | None
    record: RunRecord
    tasks: dict[str, TaskScores]
    stored: SuiteAverages | None = None
    label: str = ""

    @cached_property
    def name(self) -> str:
        """Name of the folder, which distinguishes two runs of one reranker."""
        return self.label if self.path is None else self.path.name

    @property
    def folder(self) -> Path:
        """The run's folder. ResultError if nothing was written."""
        if self.path is None:
            raise ResultError(f"the run {self.name} was not written to disk: give mrb.evaluate a folder with out=...")
        return self.path

    @property
    def where(self) -> str:
        """The folder as text, or the name of a run without one: for messages."""
        return self.name if self.path is None else str(self.path)

    def get_task(self, task_id: str) -> Task:
        """Return the definition of one of the run's tasks: the run's own, or the registry's."""
        scores = self.tasks.get(task_id)
        return self.record.get_task(task_id) if scores is None else scores.task

    @cached_property
    def alike(self) -> bool:
        """Whether all tasks have the same candidate set, depth, kind of selection and kind of judgements."""
        return _are_alike(list(self.tasks.values()))

    @cached_property
    def averaged_by_type(self) -> dict[TypeName, list[str]]:
        """The tasks that an average must cover, by type."""
        return _group_by_type(self, list_averaged_tasks(self))

    def __getitem__(self, task_id: str) -> TaskScores:
        """Return a task of the run. ResultError if it has no result."""
        found = self.tasks.get(task_id)
        if found is None:
            known = ", ".join(self.tasks) or "none"
            raise ResultError(f"{self.where}: has no result for task {task_id!r}; it has {known}")
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.tasks)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self.tasks

    def table(self, measure: str = str(HEADLINE)) -> str:
        """Return the table that `mrb run` prints (`format_run`)."""
        from mrb.results.table import format_run

        return format_run(self, measure)

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each task and measure.

        Columns: `run`, `reranker`, `task`, `type`, `measure`; as fractions `first_stage`, `mean` (the reranker's),
        `low` and `high` (its 95 % interval), `oracle` and `gain` (mean minus first stage); `queries`, `depth`,
        `selection`, `qrels` and `candidates` (the list's hash).
        """
        from mrb.results.frames import make_run_frame

        return make_run_frame(self)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<run {self.name}: {', '.join(self.tasks) or 'no result'}>"

    def _repr_html_(self) -> str:
        from mrb.results.html import format_run_html

        return format_run_html(self)


def hash_query_ids(query_ids: Iterable[str]) -> str:
    """Return the SHA-256 over query ids, one per line, in order."""
    return hash_bytes("".join(f"{query_id}\n" for query_id in query_ids).encode())


def load_run(folder: Path) -> Run:
    """Load the run in `folder`.

    Raises:
        ResultError: The record or a result is damaged, or values per query and result disagree.
    """
    record = read_run(folder)
    return Run(folder, record, load_tasks(folder, record, record.tasks))


def load_tasks(folder: Path, record: RunRecord, task_ids: Iterable[str]) -> dict[str, TaskScores]:
    """Load those of the tasks that have a result in the run's folder.

    Raises:
        ResultError: A result is damaged or of another reranker, or values per query and result disagree.
    """
    present = [task_id for task_id in task_ids if (folder / task_id / RESULT_FILE).is_file()]
    tasks = {task_id: _load_task_scores(folder / task_id, record.definitions.get(task_id)) for task_id in present}
    for task_id, scores in tasks.items():
        if scores.result.task != task_id or scores.result.reranker.identity() != record.reranker.identity():
            raise ResultError(f"{folder / task_id / RESULT_FILE}: not of the task and reranker that {RUN_FILE} names")
        definition = record.definitions.get(task_id)
        if definition is not None:
            check_registry(scores.result, str(folder / task_id / RESULT_FILE), definition)
    return tasks


def make_task_scores(result: Result, per_query: pa.Table, definition: Task | None = None) -> TaskScores:
    """Return a result joined with the table of its values per query (`query_id`, `cluster`, a column per measure).

    `definition` is that of a task that is not in the registry.
    """
    return TaskScores(
        result,
        tuple(per_query.column("query_id").to_pylist()),
        per_query.column(CLUSTER_COLUMN).to_numpy(),
        {name: per_query.column(name).to_numpy() for name in result.measures},
        definition=definition,
    )


def average_over_tasks(run: Run, task_ids: Sequence[str], measure: str, row: Row = "measures") -> Average:
    """Return the mean of the tasks' means. The reranker's has an interval, resampled within each task."""
    done = [task_id for task_id in task_ids if task_id in run.tasks]
    if len(done) < len(task_ids) or not _can_average(run, done):
        return Average(None, None, len(done), len(task_ids))
    means = _list_means(run, done, measure, row)
    interval = _find_interval(run, task_ids, measure, "tasks") if row == "measures" else None
    return Average(average_numbers(means), interval, len(done), len(task_ids))


def average_over_types(run: Run, task_ids: Sequence[str], measure: str, row: Row = "measures") -> Average:
    """Return the mean over task types of the mean over each type's tasks; a type needs all of its tasks."""
    by_type = _group_by_type(run, task_ids)
    whole = {kind: ids for kind, ids in by_type.items() if all(task_id in run.tasks for task_id in ids)}
    if len(whole) < len(by_type) or not _can_average(run, task_ids):
        return Average(None, None, len(whole), len(by_type))
    means = [average_numbers(_list_means(run, ids, measure, row)) for ids in whole.values()]
    interval = _find_interval(run, task_ids, measure, "types") if row == "measures" else None
    return Average(average_numbers(means), interval, len(whole), len(by_type))


def average_numbers(values: Sequence[float]) -> float:
    """Return the same as `np.mean`, to the bit, in half the time: a board has many means over few numbers."""
    return float(np.add.reduce(np.array(values)) / len(values))


def _group_by_type(run: Run, task_ids: Sequence[str]) -> dict[TypeName, list[str]]:
    """Return the tasks of each type, in the order given."""
    found: dict[TypeName, list[str]] = {}
    for task_id in task_ids:
        found.setdefault(run.get_task(task_id).type, []).append(task_id)
    return found


def compute_suite_averages(run: Run, suite: Suite) -> SuiteAverages:
    """Compute all averages of `suite` and its sub-suites for which the run has all tasks."""
    sub_suites = {
        part.id: _compute_sub_suite(run, part)
        for part in list_sub_suites(suite)
        if set(part.tasks) <= run.tasks.keys() and _can_average(run, part.tasks)
    }
    by_type = _group_by_type(run, suite.tasks)
    there = {kind: ids for kind, ids in by_type.items() if set(ids) <= run.tasks.keys() and _can_average(run, ids)}
    if len(there) == len(by_type) and _can_average(run, suite.tasks):
        found = _compute_averages(run, suite.tasks)
        of_types = {kind: _name_intervals(run, found.of_types[kind]) for kind in by_type}
        return SuiteAverages(
            tasks=_name_intervals(run, found.over_tasks),
            types=_name_intervals(run, found.over_types),
            of_types=of_types,
            sub_suites=sub_suites,
        )
    of_types = {
        kind: _name_intervals(run, _compute_averages(run, tuple(ids)).over_tasks) for kind, ids in there.items()
    }
    return SuiteAverages(tasks=None, types=None, of_types=of_types, sub_suites=sub_suites)


def _compute_sub_suite(run: Run, suite: Suite) -> SubSuiteAverages:
    found = _compute_averages(run, suite.tasks)
    return SubSuiteAverages(tasks=_name_intervals(run, found.over_tasks), types=_name_intervals(run, found.over_types))


def _can_average(run: Run, task_ids: Sequence[str]) -> bool:
    """Return whether these tasks have the same candidate set, depth, selection and judgements: a mean needs that."""
    return (run.alike and len(task_ids) > 0) or _are_alike([run.tasks[task_id] for task_id in task_ids])


def _are_alike(tasks: Sequence[TaskScores]) -> bool:
    return len({find_conditions(scores.result) for scores in tasks}) == 1


def find_conditions(result: Result) -> tuple[str, int, str, str]:
    """Return what the tasks of an average have in common: candidate set, depth, selection and judgements."""
    return result.candidates.track, result.candidates.depth, result.data.selection, result.data.qrels


@lru_cache(maxsize=64)
def _compute_averages(run: Run, task_ids: tuple[str, ...]) -> Averages:
    """Return both averages of all measures, which share one resampling."""
    chosen = [run.tasks[task_id] for task_id in task_ids]
    names = list(chosen[0].result.measures)
    return compute_averages([scores.sample(names) for scores in chosen])


def _find_interval(run: Run, task_ids: Sequence[str], measure: str, over: stats.Average) -> Interval | None:
    if run.stored is not None:
        return _find_stored(run, run.stored, task_ids, measure, over)
    found = _compute_averages(run, tuple(task_ids))
    return _name_intervals(run, found.over_tasks if over == "tasks" else found.over_types)[measure]


def _find_stored(
    run: Run, stored: SuiteAverages, task_ids: Sequence[str], measure: str, over: stats.Average
) -> Interval | None:
    """Return the stored interval of this average, None if the tasks are not those of an average of the run's suite."""
    if set(task_ids) == set(list_averaged_tasks(run)):
        measures = stored.tasks if over == "tasks" else stored.types
    else:
        whole = next((kind for kind, ids in run.averaged_by_type.items() if set(ids) == set(task_ids)), None)
        measures = None if whole is None else stored.of_types.get(whole)
    return None if measures is None else measures.get(measure)


def _name_intervals(run: Run, found: Sequence[stats.MeanInterval]) -> Measures:
    """Return intervals, given in the order of the run's measures, by the measure's name."""
    names = next(iter(run.tasks.values())).result.measures
    return {name: Interval.from_mean(own) for name, own in zip(names, found, strict=True)}


def list_averaged_tasks(run: Run) -> tuple[str, ...]:
    """Return the tasks that an average must cover: all of the run's suite, or without a suite those of the run."""
    return run.record.tasks if run.record.suite is None else load_suite(run.record.suite).tasks


def _list_means(run: Run, task_ids: Sequence[str], measure: str, row: Row) -> list[float]:
    return [getattr(run.tasks[task_id].result, row)[measure].mean for task_id in task_ids]


def _load_task_scores(folder: Path, definition: Task | None) -> TaskScores:
    result = read_result(folder / RESULT_FILE)
    path = folder / PER_QUERY_FILE
    stated = [
        ("query_id", pa.string()),
        (CLUSTER_COLUMN, pa.int64()),
        *((name, pa.float64()) for name in result.measures),
    ]
    found = read_untrusted(path, pa.schema(stated), ResultError)
    scores = make_task_scores(result, found, definition)
    for name, values in scores.values.items():
        if (
            len(values) != result.counts.queries
            or abs(average_queries(values, scores.parts) - result.measures[name].mean) > 1e-9
        ):
            raise ResultError(f"{path}: {name} does not average to what {RESULT_FILE} states")
    return scores
