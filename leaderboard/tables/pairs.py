"""Compare two runs of one table: the numbers of `mrb compare`, and a plot of their queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mrb.leaderboard.tables.rankings import Float64
from mrb.leaderboard.tables.rows import Table
from mrb.metrics.measures import HEADLINE
from mrb.metrics.statistics import Average, flips_needed, holm, pairwise_p_values
from mrb.results.compare import Comparison, QueryDifference, compare
from mrb.results.run import Run, TaskScores

MAX_RUNS = 30
"""Runs of a table that are compared with each other, the first in its order; the page says so if there are more."""
AVERAGES: tuple[Average, ...] = ("tasks", "types")
NAMED = 5
SIDE = 100
"""Grid size of the plot: values are fractions of it."""


@dataclass(frozen=True)
class Line:
    """One row: a task or an average, in fractions. `p` is corrected as `pairs_of` says.

    `counts` are the queries that the other run won, tied and lost against the base; None for an average.
    """

    key: str
    base: float
    other: float
    difference: float
    low: float
    high: float
    p: float
    counts: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Plot:
    """A task's queries as dots: the base's value to the right, the other's upwards.

    `dots` holds an SVG path for each size of dot (one query, up to nine, more).
    """

    task: str
    queries: int
    dots: tuple[str, str, str]


@dataclass(frozen=True)
class Pair:
    """The gains of run `other` over run `base`. `wins` and `losses` are the queries of all tasks that differ most."""

    base: str
    other: str
    averages: tuple[Line, ...]
    tasks: tuple[Line, ...]
    wins: tuple[QueryDifference, ...]
    losses: tuple[QueryDifference, ...]
    plots: tuple[Plot, ...]

    @property
    def main(self) -> Line:
        """The average over types."""
        return self.averages[-1]


def compared_runs(table: Table, values: Mapping[tuple[str, str], TaskScores]) -> list[Run]:
    """Return the table's runs that are compared, in its order: those with values per query, at most MAX_RUNS.

    A submission holds none; `values` (by run and task) are those recomputed from its rankings.
    """
    found = []
    for run in table.runs:
        known = {task_id: values.get((run.name, task_id), scores) for task_id, scores in run.tasks.items()}
        kept = {task_id: scores for task_id, scores in known.items() if scores.values}
        if kept:
            found.append(replace(run, tasks=kept))
    return found[:MAX_RUNS]


def pairs_of(runs: Sequence[Run]) -> list[Pair]:
    """Return the pairs of `runs`, the earlier run as `other`, without pairs that share no task.

    A task's p value is corrected (Holm) for the tasks of its pair, an average's for all pairs given here.
    """
    found = [pair for place, base in enumerate(runs) for pair in _against(base, runs[:place])]
    shared = {pair: tuple(line.key for line in pair.tasks) for pair in found}
    raw = {tasks: _average_p_values(runs, tasks) for tasks in dict.fromkeys(shared.values())}
    corrected = [
        holm(
            [raw[shared[pair]][line.key][pair.base, pair.other] for pair in found for line in (pair.averages[number],)]
        )
        for number in range(len(AVERAGES))
    ]
    return [
        replace(pair, averages=tuple(replace(line, p=p) for line, p in zip(pair.averages, p_values, strict=True)))
        for pair, *p_values in zip(found, *corrected, strict=True)
    ]


def _average_p_values(runs: Sequence[Run], tasks: tuple[str, ...]) -> dict[str, dict[tuple[str, str], float]]:
    """Return, for each average over `tasks`, the uncorrected p value of each two runs that have them, by name.

    The number of sign flips is what the correction for all pairs of `runs` needs; all pairs share the same flips.
    """
    members = [run for run in runs if run.tasks.keys() >= set(tasks)]
    samples = [
        replace(
            members[0].tasks[task_id].sample([str(HEADLINE)]),
            values=np.column_stack([run.tasks[task_id].values[str(HEADLINE)] for run in members]),
        )
        for task_id in tasks
    ]
    found: dict[str, dict[tuple[str, str], float]] = {}
    for average in AVERAGES:
        p_values = pairwise_p_values(samples, average=average, flips=flips_needed(len(runs)))
        found[average] = {
            (one.name, other.name): p_values[row, column].item()
            for row, one in enumerate(members)
            for column, other in enumerate(members)
        }
    return found


def _against(base: Run, others: Sequence[Run]) -> Iterator[Pair]:
    """Yield the pairs of one base.

    Others that share the same tasks with it are compared at once, with shared resampling.
    """
    groups: dict[tuple[str, ...], list[Run]] = {}
    for other in others:
        common = tuple(task_id for task_id in base.tasks if task_id in other.tasks)
        if common:
            groups.setdefault(common, []).append(other)
    for common, group in groups.items():
        found = compare([base, *group], task_ids=common, named=NAMED, grouped=False)
        for column, other in enumerate(group):
            yield _pair(found, column, base, other)


def _pair(found: Comparison, column: int, base: Run, other: Run) -> Pair:
    """Return the pair of the base and one of the others of a comparison."""
    of_tasks = [task.differences[column] for task in found.tasks]
    corrected = holm([one.mean.p for one in of_tasks])
    lines = tuple(
        Line(
            task.task,
            task.means[0],
            task.means[column + 1],
            one.mean.difference,
            one.mean.low,
            one.mean.high,
            p,
            (one.won, one.tied, one.lost),
        )
        for task, one, p in zip(found.tasks, of_tasks, corrected, strict=True)
    )
    averages = []
    for name, average in zip(AVERAGES, (found.over_tasks, found.over_types), strict=True):
        one = average.differences[column]
        averages.append(
            Line(name, average.means[0], average.means[column + 1], one.difference, one.low, one.high, one.p)
        )

    def largest(queries: list[QueryDifference]) -> tuple[QueryDifference, ...]:
        return tuple(sorted(queries, key=lambda query: (-abs(query.difference), query.task, query.query_id))[:10])

    return Pair(
        base.name,
        other.name,
        tuple(averages),
        lines,
        largest([query for one in of_tasks for query in one.wins]),
        largest([query for one in of_tasks for query in one.losses]),
        tuple(_plot(task.task, base, other) for task in found.tasks),
    )


def _plot(task_id: str, base: Run, other: Run) -> Plot:
    mine, theirs = (run.tasks[task_id].values[str(HEADLINE)] for run in (base, other))
    return Plot(task_id, len(mine), dots(mine, theirs))


def dots(right: Float64, up: Float64) -> tuple[str, str, str]:
    """Return the dots of pairs of fractions as path data, on a grid of SIDE; equal points become one larger dot."""
    places = Counter(zip(_grid(right), _grid(1 - up), strict=True))
    paths = ["", "", ""]
    for (x, y), count in sorted(places.items()):
        paths[0 if count == 1 else 1 if count < 10 else 2] += f"M{x} {y}h0"
    return paths[0], paths[1], paths[2]


def _grid(values: Float64) -> list[int]:
    return [int(value) for value in np.rint(values * SIDE)]
