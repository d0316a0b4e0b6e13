"""Compare two or more runs: differences with intervals and p values, queries won and lost, rank bounds.

A task is compared only if all runs scored it with the same definition, data, queries, candidate list and depth.
`docs/comparing.md` explains the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mrb.errors import ResultError
from mrb.metrics.aggregation import average_queries
from mrb.metrics.measures import HEADLINE
from mrb.metrics.significance import Difference, PairedTests, RankBounds, bound_ranks
from mrb.metrics.statistics import Average, TaskSample
from mrb.results.run import Run, TaskScores

if TYPE_CHECKING:
    import pandas as pd

Float64 = npt.NDArray[np.float64]

EQUAL = 1e-9
"""Values per query that differ by at most this are a tie: it is rounding, not a difference of rankings."""
NAMED = 3


@dataclass(frozen=True)
class QueryDifference:
    """One query's values (fractions) in the base run and in the other run."""

    task: str
    query_id: str
    base: float
    other: float

    @property
    def difference(self) -> float:
        """Value in the other run minus value in the base run."""
        return self.other - self.base


@dataclass(frozen=True)
class RunDifference(Difference):
    """Gain of run `run` over the base. On a task, the p value is corrected for the tasks of these two runs; in an
    average, for all pairs of runs."""

    run: str


@dataclass(frozen=True)
class TaskDifference:
    """`RunDifference` on one task, with numbers of queries won, lost and tied against the base.

    `wins` and `losses` are the queries with the largest differences, largest first.
    """

    mean: RunDifference
    won: int
    lost: int
    tied: int
    wins: tuple[QueryDifference, ...]
    losses: tuple[QueryDifference, ...]


@dataclass(frozen=True)
class TaskComparison:
    """One task: each run's mean (fractions, in the order of the runs) and the differences of all others to the base.

    `units` is the number of independent queries or clusters.
    """

    task: str
    type: str
    queries: int
    units: int
    means: tuple[float, ...]
    differences: tuple[TaskDifference, ...]


@dataclass(frozen=True)
class AverageComparison:
    """An average over the common tasks: each run's mean, the differences to the base, and the runs' rank bounds."""

    means: tuple[float, ...]
    differences: tuple[RunDifference, ...]
    ranks: tuple[RankBounds, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs compared by one measure; the first is the base.

    `tasks` are those that every run has, `of` is the number of tasks asked for (by default those of all runs together),
    and `missing` gives the tasks that a run lacks. `selections` and `qrels` say which queries and judgements were used
    (`DataInfo`). `over_tasks` and `over_types` are averages over the common tasks only.
    """

    measure: str
    runs: tuple[str, ...]
    tasks: tuple[TaskComparison, ...]
    of: int
    selections: tuple[str, ...]
    qrels: tuple[str, ...]
    missing: Mapping[str, tuple[str, ...]]
    over_tasks: AverageComparison
    over_types: AverageComparison

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each task and run after the base, then rows of the averages over tasks and over types.

        Columns: `task`, `type`, `queries`, `measure`, `base` and `run` (names); as fractions `base_mean`, `mean`,
        `gain`, and `low` and `high` (its 95 % interval); `p` and `p_corrected`; `won`, `lost` and `tied` (numbers of
        queries, missing in averages).
        """
        from mrb.results.frames import make_comparison_frame

        return make_comparison_frame(self)

    def __str__(self) -> str:
        """Return the tables that `mrb compare` prints."""
        from mrb.results.comparison_table import format_comparison

        return "\n".join(format_comparison(self))

    def __repr__(self) -> str:
        return f"<{self.measure} of {', '.join(self.runs)} on {len(self.tasks)} common tasks>"

    def _repr_html_(self) -> str:
        from mrb.results.html import format_comparison_html

        return format_comparison_html(self)


def compare(
    runs: Sequence[Run], *, measure: str = str(HEADLINE), task_ids: Sequence[str] = (), named: int = NAMED
) -> Comparison:
    """Compare runs on their common tasks.

    The same runs give the same numbers everywhere; another order only changes which run is the base.

    Args:
        runs: Two or more runs; the first is the base.
        measure: The measure to compare by.
        task_ids: Compare these tasks only, which every run must have.
        named: Number of the largest wins and losses to keep per task.

    Raises:
        ResultError: There are fewer than two runs, a run is given twice, no task is common, a run lacks a task or
            measure, runs are not comparable on a task (`check_comparable`), or the common tasks are of several
            candidate sets.
    """
    if len(runs) < 2:
        raise ResultError("a comparison needs at least two runs")
    names = name_runs(runs)
    asked = list(dict.fromkeys(task_ids)) or list(dict.fromkeys(task for run in runs for task in run.record.tasks))
    missing = {
        name: tuple(task for task in asked if task not in run.tasks) for name, run in zip(names, runs, strict=True)
    }
    common = [task for task in asked if all(task in run.tasks for run in runs)]
    _check_asked(names, missing, common, task_ids)
    for task in common:
        check_comparable(names, [run.tasks[task] for run in runs], measure)
    _check_one_set(runs[0], common)
    samples = sample_runs(runs, common, measure)
    tests = PairedTests(samples)
    data = [runs[0].tasks[task].result.data for task in common]
    return Comparison(
        measure=measure,
        runs=names,
        tasks=_compare_tasks(names, runs[0], samples, tests, named),
        of=len(asked),
        selections=tuple(sorted({info.selection for info in data})),
        qrels=tuple(sorted({info.qrels for info in data})),
        missing={name: tasks for name, tasks in missing.items() if tasks},
        over_tasks=_compare_averages(names, samples, tests, "tasks"),
        over_types=_compare_averages(names, samples, tests, "types"),
    )


def sample_runs(runs: Sequence[Run], task_ids: Sequence[str], measure: str) -> list[TaskSample]:
    """Return the values of each task with a column for each run. The runs must be comparable on the tasks."""
    return [
        replace(
            runs[0].tasks[task].sample([measure]),
            values=np.column_stack([run.tasks[task].values[measure] for run in runs]),
        )
        for task in task_ids
    ]


_MEANINGS = {
    "task_hash": "the task's definition or data differ",
    "candidates.sha256": "the candidate lists differ",
}
"""What it means that hashes differ."""


def check_comparable(names: Sequence[str], scores: Sequence[TaskScores], measure: str, *, lists: bool = True) -> None:
    """Refuse results of one task that are not comparable. Without `lists`, the candidate lists may differ.

    Raises:
        ResultError: Names the first field that differs, or the measure that a result lacks.
    """
    fields: dict[str, Callable[[TaskScores], object]] = {
        "data.qrels": lambda one: one.result.data.qrels,
        "task_hash": lambda one: one.result.task_hash,
        "data.revision": lambda one: one.result.data.revision,
        "data.selection": lambda one: one.result.data.selection,
        "candidates.sha256": lambda one: one.result.candidates.sha256,
        "candidates.depth": lambda one: one.result.candidates.depth,
        "counts.queries": lambda one: one.result.counts.queries,
    }
    if not lists:
        del fields["candidates.sha256"]
    task = scores[0].result.task
    for name, other in zip(names, scores, strict=True):
        for field, read in fields.items():
            mine, theirs = read(scores[0]), read(other)
            if mine != theirs:
                why = f" ({_MEANINGS[field]})" if field in _MEANINGS else ""
                if field == "candidates.sha256" and (sets := _describe_sets(scores[0], other)):
                    raise ResultError(f"task {task}: {names[0]} and {name} are not comparable: {sets}")
                values = " and ".join(value[:12] if field in _MEANINGS else value for value in (str(mine), str(theirs)))
                raise ResultError(
                    f"task {task}: {names[0]} and {name} are not comparable: {field} is {values}{why}; compare others "
                    "with --task"
                )
        if other.query_ids != scores[0].query_ids or not np.array_equal(other.clusters, scores[0].clusters):
            raise ResultError(f"task {task}: {names[0]} and {name} are not comparable: their queries differ")
        if measure not in other.values:
            raise ResultError(f"task {task}: {name} has no {measure}; it has {', '.join(other.values)}")


def _describe_sets(one: TaskScores, other: TaskScores) -> str:
    """Return that two results are of different candidate sets, and what to do; empty if they are of one."""
    mine, theirs = one.result.candidates.track, other.result.candidates.track
    if mine == theirs:
        return ""
    return f"their candidate sets are {mine} and {theirs}; `mrb compare --first-stages` compares the gains over each"


def name_runs(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the runs' names: the names of their folders, or the whole paths if two names are equal.

    Raises:
        ResultError: A run is given twice.
    """
    for one, other in combinations(runs, 2):
        if one is other or (one.path and other.path and one.path.resolve() == other.path.resolve()):
            raise ResultError(f"{other.where}: the same run is given twice")
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        names = [run.where for run in runs]
    # Runs without folders may share a name: all but the first of them get a number.
    return tuple(
        name if (number := names[:place].count(name)) == 0 else f"{name} ({number + 1})"
        for place, name in enumerate(names)
    )


def _check_asked(
    names: Sequence[str], missing: Mapping[str, Sequence[str]], common: Sequence[str], task_ids: Sequence[str]
) -> None:
    for name in names:
        if task_ids and missing[name]:
            raise ResultError(f"{name}: has no result for task {missing[name][0]}")
    if not common:
        raise ResultError(f"no task is common to {', '.join(names)}: there is nothing to compare")


def _check_one_set(run: Run, common: Sequence[str]) -> None:
    """Refuse common tasks whose lists are of several candidate sets: there is no average over them."""
    by_set = {run.tasks[task].result.candidates.track: task for task in reversed(common)}
    if len(by_set) > 1:
        (one, its_task), (other, other_task) = sorted(by_set.items())[:2]
        raise ResultError(
            f"{run.where}: its lists belong to several candidate sets ({its_task}: {one}, {other_task}: {other}), over "
            "which there is no average; name the tasks of one set with --task"
        )


def _compare_tasks(
    names: Sequence[str], base: Run, samples: Sequence[TaskSample], tests: PairedTests, named: int
) -> tuple[TaskComparison, ...]:
    gains = [tests.test_tasks((0, column)) for column in range(1, len(names))]
    return tuple(
        TaskComparison(
            sample.task_id,
            sample.type,
            len(sample.values),
            sample.units,
            tuple(average_queries(sample.values, sample.parts).tolist()),
            tuple(
                compare_queries(name_gain(name, gain[sample.task_id]), sample, base, (0, column), named)
                for column, (name, gain) in enumerate(zip(names[1:], gains, strict=True), start=1)
            ),
        )
        for sample in samples
    )


def name_gain(name: str, gain: Difference) -> RunDifference:
    """Return the gain of the run `name`."""
    return RunDifference(**asdict(gain), run=name)


def compare_queries(
    mean: RunDifference, sample: TaskSample, run: Run, pair: tuple[int, int], named: int
) -> TaskDifference:
    """Return a task's difference with its queries.

    Args:
        mean: The difference of the means.
        sample: The task's values per query.
        run: Any run of the task, for the query ids.
        pair: The columns of the base and of the other run.
        named: Number of the largest wins and losses to keep.
    """
    query_ids = run.tasks[sample.task_id].query_ids
    base, other = (sample.values[:, column] for column in pair)
    gains = other - base
    won, lost = gains > EQUAL, gains < -EQUAL

    def largest(which: npt.NDArray[np.bool_]) -> tuple[QueryDifference, ...]:
        rows = sorted(np.flatnonzero(which).tolist(), key=lambda row: (-abs(gains[row]), query_ids[row]))[:named]
        return tuple(
            QueryDifference(sample.task_id, query_ids[row], float(base[row]), float(other[row])) for row in rows
        )

    tied = len(gains) - int(won.sum()) - int(lost.sum())
    return TaskDifference(mean, int(won.sum()), int(lost.sum()), tied, largest(won), largest(lost))


def _compare_averages(
    names: Sequence[str], samples: Sequence[TaskSample], tests: PairedTests, average: Average
) -> AverageComparison:
    found = tests.test_average(average)
    return AverageComparison(
        means=average_runs(samples, average),
        differences=tuple(name_gain(name, found[0, column]) for column, name in enumerate(names[1:], start=1)),
        ranks=bound_ranks(len(names), found),
    )


def average_runs(samples: Sequence[TaskSample], average: Average) -> tuple[float, ...]:
    """Return each run's mean over tasks, or the mean over types of the mean over each type's tasks."""
    by_type: dict[str, list[Float64]] = {}
    for sample in samples:
        mean = average_queries(sample.values, sample.parts)
        by_type.setdefault(sample.type if average == "types" else "", []).append(mean)
    means = np.mean([np.mean(of_type, axis=0) for of_type in by_type.values()], axis=0)
    return tuple(float(mean) for mean in means)
