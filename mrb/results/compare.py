"""Compare two or more runs: differences with intervals and tests, queries won and lost, rank groups.

A task is compared only if all runs scored it with the same definition, data, queries, candidate list and depth.
`docs/comparing.md` explains the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from mrb.errors import ResultError
from mrb.metrics import statistics as stats
from mrb.metrics.aggregation import task_mean
from mrb.metrics.measures import HEADLINE
from mrb.metrics.statistics import Average, RankGroup, TaskSample
from mrb.results.run import Run, TaskScores

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
class Difference:
    """Gain of run `run` over the base.

    Mean difference with its interval (fractions) and the p value of a paired sign-flip test; `p_holm` is corrected for
    the number of differences in the same table.
    """

    run: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class TaskDifference:
    """`Difference` on one task, with numbers of queries won, lost and tied against the base.

    `wins` and `losses` are the queries with the largest differences, largest first.
    """

    mean: Difference
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
    """An average over the common tasks: each run's mean, the differences to the base, and the runs' rank groups."""

    means: tuple[float, ...]
    differences: tuple[Difference, ...]
    rank_groups: tuple[RankGroup, ...]


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


def compare(
    runs: Sequence[Run],
    *,
    measure: str = str(HEADLINE),
    task_ids: Sequence[str] = (),
    named: int = NAMED,
    grouped: bool = True,
) -> Comparison:
    """Compare runs on their common tasks.

    The same runs in the same order give the same numbers everywhere; another order only changes which run is the base.

    Args:
        runs: Two or more runs; the first is the base.
        measure: The measure to compare by.
        task_ids: Compare these tasks only, which every run must have.
        named: Number of the largest wins and losses to keep per task.
        grouped: Whether to compute rank groups. If not, p values of averages are corrected only for the differences to
            the base.

    Raises:
        ResultError: There are fewer than two runs, a run is given twice, no task is common, a run lacks a task or
            measure, or runs are not comparable on a task (`check_comparable`).
    """
    names = _names(runs)
    asked = list(dict.fromkeys(task_ids)) or list(dict.fromkeys(task for run in runs for task in run.record.tasks))
    missing = {
        name: tuple(task for task in asked if task not in run.tasks) for name, run in zip(names, runs, strict=True)
    }
    common = [task for task in asked if all(task in run.tasks for run in runs)]
    _check_asked(names, missing, common, task_ids)
    scores = {task: [run.tasks[task] for run in runs] for task in common}
    for of_task in scores.values():
        check_comparable(names, of_task, measure)
    samples = [_sample(of_task, measure) for of_task in scores.values()]
    gains = stats.averages([replace(s, values=s.values[:, 1:] - s.values[:, :1]) for s in samples])
    return Comparison(
        measure=measure,
        runs=names,
        tasks=_tasks(names, scores, samples, named),
        of=len(asked),
        selections=tuple(sorted({of_task[0].result.data.selection for of_task in scores.values()})),
        qrels=tuple(sorted({of_task[0].result.data.qrels for of_task in scores.values()})),
        missing={name: tasks for name, tasks in missing.items() if tasks},
        over_tasks=_average(names, samples, "tasks", gains.over_tasks, grouped),
        over_types=_average(names, samples, "types", gains.over_types, grouped),
    )


def check_comparable(names: Sequence[str], scores: Sequence[TaskScores], measure: str) -> None:
    """Refuse results of one task that are not comparable.

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
    task = scores[0].result.task
    for name, other in zip(names, scores, strict=True):
        for field, read in fields.items():
            mine, theirs = read(scores[0]), read(other)
            if mine != theirs:
                raise ResultError(
                    f"task {task}: {names[0]} and {name} are not comparable: {field} is {mine} and {theirs}; "
                    "compare others with --task"
                )
        if other.query_ids != scores[0].query_ids or not np.array_equal(other.clusters, scores[0].clusters):
            raise ResultError(f"task {task}: {names[0]} and {name} are not comparable: their queries differ")
        if measure not in other.values:
            raise ResultError(f"task {task}: {name} has no {measure}; it has {', '.join(other.values)}")


def _names(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the runs' names: the names of their folders, or the whole paths if two names are equal."""
    if len(runs) < 2:
        raise ResultError("a comparison needs at least two runs")
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.folder) for run in runs]
    for one, other in combinations(runs, 2):
        if one.folder.resolve() == other.folder.resolve():
            raise ResultError(f"{other.folder}: the same run is given twice")
    return tuple(names)


def _check_asked(
    names: Sequence[str], missing: Mapping[str, Sequence[str]], common: Sequence[str], task_ids: Sequence[str]
) -> None:
    for name in names:
        if task_ids and missing[name]:
            raise ResultError(f"{name}: has no result for task {missing[name][0]}")
    if not common:
        raise ResultError(f"no task is common to {', '.join(names)}: there is nothing to compare")


def _sample(scores: Sequence[TaskScores], measure: str) -> TaskSample:
    """Return one task's values with a column for each run."""
    return replace(scores[0].sample([measure]), values=np.column_stack([one.values[measure] for one in scores]))


def _tasks(
    names: Sequence[str], scores: Mapping[str, Sequence[TaskScores]], samples: Sequence[TaskSample], named: int
) -> tuple[TaskComparison, ...]:
    tests = [stats.paired_tests(s.values, s.clusters, s.parts, seed=stats.task_seed(s.task_id)) for s in samples]
    corrected = iter(stats.holm([test.p for of_task in tests for test in of_task]))
    compared = []
    for sample, of_task in zip(samples, tests, strict=True):
        query_ids = scores[sample.task_id][0].query_ids
        differences = tuple(
            _task_difference(_difference(names[column], test, next(corrected)), sample, query_ids, column, named)
            for column, test in enumerate(of_task, start=1)
        )
        means = tuple(task_mean(sample.values, sample.parts).tolist())
        compared.append(TaskComparison(sample.task_id, sample.type, len(query_ids), sample.units, means, differences))
    return tuple(compared)


def _difference(name: str, found: stats.PairedTest, p_holm: float) -> Difference:
    return Difference(name, found.difference, found.low, found.high, found.p, p_holm)


def _task_difference(
    mean: Difference, sample: TaskSample, query_ids: Sequence[str], column: int, named: int
) -> TaskDifference:
    values = sample.values
    gains = values[:, column] - values[:, 0]
    won, lost = gains > EQUAL, gains < -EQUAL

    def largest(which: npt.NDArray[np.bool_]) -> tuple[QueryDifference, ...]:
        rows = sorted(np.flatnonzero(which).tolist(), key=lambda row: (-abs(gains[row]), query_ids[row]))[:named]
        return tuple(
            QueryDifference(sample.task_id, query_ids[row], float(values[row, 0]), float(values[row, column]))
            for row in rows
        )

    tied = len(gains) - int(won.sum()) - int(lost.sum())
    return TaskDifference(mean, int(won.sum()), int(lost.sum()), tied, largest(won), largest(lost))


def _average(
    names: Sequence[str],
    samples: Sequence[TaskSample],
    average: Average,
    gains: Sequence[stats.Interval],
    grouped: bool,
) -> AverageComparison:
    """Return one average's means, differences and rank groups. With groups, p values are corrected for all pairs of
    runs, so that differences and groups never contradict each other."""
    flips = stats.flips_needed(len(names)) if grouped else stats.FLIPS
    raw = stats.pairwise_p_values(samples, average=average, flips=flips, rows=None if grouped else 1)
    pairs = [pair for pair in combinations(range(len(names)), 2) if grouped or pair[0] == 0]
    corrected = dict(zip(pairs, stats.holm([float(raw[pair]) for pair in pairs]), strict=True))
    return AverageComparison(
        means=_means(samples, average),
        differences=tuple(
            Difference(names[i], found.mean, found.low, found.high, float(raw[0, i]), corrected[0, i])
            for i, found in enumerate(gains, start=1)
        ),
        rank_groups=stats.groups_by(raw, names, samples, average=average) if grouped else (),
    )


def _means(samples: Sequence[TaskSample], average: Average) -> tuple[float, ...]:
    """Return each run's mean over tasks, or the mean over types of the mean over each type's tasks."""
    by_type: dict[str, list[Float64]] = {}
    for sample in samples:
        mean = task_mean(sample.values, sample.parts)
        by_type.setdefault(sample.type if average == "types" else "", []).append(mean)
    means = np.mean([np.mean(of_type, axis=0) for of_type in by_type.values()], axis=0)
    return tuple(float(mean) for mean in means)
