"""Compare two runs of one table: the numbers of `mrb compare` for all its runs, and a plot of their queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from mrb._util.progress import track
from mrb.leaderboard.tables.rankings import Float64
from mrb.leaderboard.tables.rows import Table
from mrb.metrics.aggregation import average_queries
from mrb.metrics.measures import HEADLINE
from mrb.metrics.significance import Difference, PairedTests
from mrb.metrics.statistics import Average, TaskSample
from mrb.results.compare import QueryDifference, average_runs, compare_queries, name_gain, sample_runs
from mrb.results.run import Run

MAX_RUNS = 30
"""Runs of a table that have pages with each other, the first in its order; the page says so if there are more."""
AVERAGES: tuple[Average, ...] = ("tasks", "types")
NAMED = 5
SIDE = 100
"""Grid size of the plot: values are fractions of it."""


@dataclass(frozen=True)
class Line:
    """One row: a task or an average, in fractions.

    `counts` are the queries that the other run won, tied and lost against the base; None for an average.
    """

    key: str
    base: float
    other: float
    gain: Difference
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


def list_compared_runs(table: Table) -> list[Run]:
    """Return the table's runs that can be compared, in its order, each with its tasks that have values per query.

    A run of a suite on the lists of several candidate sets has no average, and is left out.
    """
    found = []
    for run in table.runs:
        kept = {task_id: scores for task_id, scores in run.tasks.items() if scores.values}
        sets = {scores.result.candidates.track for scores in kept.values()}
        if kept and (len(sets) == 1 or table.comparison.suite is None):
            found.append(replace(run, tasks=kept))
    return found


def list_shared_tasks(base: Run, other: Run) -> tuple[str, ...]:
    """Return the tasks on which two runs are compared: none if these are on the lists of several candidate sets."""
    common = tuple(task_id for task_id in base.tasks if task_id in other.tasks)
    sets = {base.tasks[task_id].result.candidates.track for task_id in common}
    return common if len(sets) == 1 else ()


def compare_pairs(runs: Sequence[Run]) -> list[Pair]:
    """Return the pairs of the first MAX_RUNS runs, the earlier run as `other`.

    Pairs that share no task, or tasks on the lists of several candidate sets, over which there is no average, are left
    out, as `mrb compare` refuses them.
    p values are those of `mrb compare` for all of `runs` that have the tasks that the pair shares.
    """
    shared: dict[tuple[str, ...], list[tuple[Run, Run]]] = {}
    order = []
    for base, other in ((base, other) for place, base in enumerate(runs[:MAX_RUNS]) for other in runs[:place]):
        if common := list_shared_tasks(base, other):
            shared.setdefault(common, []).append((base, other))
            order.append((base.name, other.name))
    found = {(pair.base, pair.other): pair for tasks, pairs in shared.items() for pair in _compare(runs, tasks, pairs)}
    return [found[names] for names in order]


def _compare(runs: Sequence[Run], task_ids: tuple[str, ...], pairs: Sequence[tuple[Run, Run]]) -> list[Pair]:
    """Return the given pairs, which share these tasks."""
    members = [run for run in runs if run.tasks.keys() >= set(task_ids)]
    columns = {run.name: column for column, run in enumerate(members)}
    samples = sample_runs(members, task_ids, str(HEADLINE))
    tests = PairedTests(samples, on_tasks=MAX_RUNS)
    all_pairs = [(base, other) for other, base in combinations(range(len(members)), 2)]
    averages = [(name, average_runs(samples, name), tests.test_average(name, all_pairs)) for name in AVERAGES]
    found = []
    for base, other in track(pairs, "comparisons", "pairs"):
        pair = columns[base.name], columns[other.name]
        lines = tuple(Line(name, means[pair[0]], means[pair[1]], gains[pair]) for name, means, gains in averages)
        found.append(_describe_pair(base, other, pair, lines, samples, tests.test_tasks(pair)))
    return found


def _describe_pair(
    base: Run,
    other: Run,
    pair: tuple[int, int],
    averages: tuple[Line, ...],
    samples: Sequence[TaskSample],
    gains: dict[str, Difference],
) -> Pair:
    lines: list[Line] = []
    wins: list[QueryDifference] = []
    losses: list[QueryDifference] = []
    for sample in samples:
        one = compare_queries(name_gain(other.name, gains[sample.task_id]), sample, base, pair, NAMED)
        own, theirs = average_queries(sample.values, sample.parts)[list(pair)].tolist()
        counts = one.won, one.tied, one.lost
        lines.append(Line(sample.task_id, own, theirs, gains[sample.task_id], counts))
        wins += one.wins
        losses += one.losses

    def largest(queries: list[QueryDifference]) -> tuple[QueryDifference, ...]:
        return tuple(sorted(queries, key=lambda query: (-abs(query.difference), query.task, query.query_id))[:10])

    plots = tuple(_plot(sample.task_id, base, other) for sample in samples)
    return Pair(base.name, other.name, averages, tuple(lines), largest(wins), largest(losses), plots)


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
