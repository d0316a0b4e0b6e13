"""Shared ranks and the intervals of gains, from paired values per query.

Both are computed once over the whole table, so that filters do not change them, and only if every query's value is
available: nothing is estimated from means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrb.leaderboard.tables.cells import CellText, make_blank
from mrb.leaderboard.tables.per_query_cache import first_stage_values, why_not
from mrb.leaderboard.tables.rows import Table
from mrb.metrics import statistics as stats
from mrb.metrics.measures import HEADLINE
from mrb.metrics.multiple_comparison import rank_groups
from mrb.metrics.statistics import Interval, TaskSample
from mrb.results.run import Run


@dataclass(frozen=True)
class Rank:
    """The best and worst place of a run's group, from 1; None if there is no rank, with the reason in `note`."""

    best: int | None
    worst: int | None
    note: str = ""

    @property
    def shown(self) -> CellText:
        """The rank as a cell: "2", "1–3", or a blank with its reason."""
        if self.best is None or self.worst is None:
            return make_blank(self.note)
        alone = self.best == self.worst
        return CellText(float(self.best), f"{self.best}" if alone else f"{self.best}–{self.worst}")


@dataclass(frozen=True)
class Standing:
    """A table's ranks by run, and, for runs that have them, the intervals of the gains in the headline's average over
    types.
    """

    ranks: dict[str, Rank]
    gains: dict[str, Interval]

    @property
    def ranked(self) -> int:
        """The number of runs that have a rank."""
        return sum(rank.best is not None for rank in self.ranks.values())


def standing(table: Table) -> Standing:
    """Return the ranks by the headline's average over types, which needs every task of a suite, and the gains'
    intervals.
    """
    task_ids = table.comparison.task_ids
    if table.comparison.suite is None:
        return Standing({run.name: Rank(None, None, "no average") for run in table.runs}, {})
    reasons = {run.name: why_not(run, task_ids) for run in table.runs}
    ranked = [run for run in table.runs if not reasons[run.name]]
    if not ranked:
        return Standing({name: Rank(None, None, reason) for name, reason in reasons.items()}, {})
    samples = [_sample(ranked, task_id) for task_id in task_ids]
    names = [run.name for run in ranked]
    ranks = {
        name: Rank(group.rank, group.rank + len(group.models) - 1)
        for group in rank_groups(names, samples)
        for name in group.models
    }
    return Standing(
        {name: ranks.get(name, Rank(None, None, reason)) for name, reason in reasons.items()},
        _gains(table, names, samples),
    )


def _sample(runs: list[Run], task_id: str) -> TaskSample:
    """Return one task's values with a column per run. Runs in one table have the same queries."""
    of_task = [run.tasks[task_id] for run in runs]
    values = np.column_stack([scores.values[str(HEADLINE)] for scores in of_task])
    first = of_task[0]
    return TaskSample(task_id, first.task.type, values, [str(one) for one in first.clusters], first.parts)


def _gains(table: Table, names: list[str], samples: list[TaskSample]) -> dict[str, Interval]:
    """Return the gains' intervals; empty if the first stage's values of any task are not available."""
    gained = []
    for sample in samples:
        first = first_stage_values(table.comparison, sample.task_id)
        if first is None:
            return {}
        gained.append(
            TaskSample(sample.task_id, sample.type, sample.values - first[:, np.newaxis], sample.clusters, sample.parts)
        )
    return dict(zip(names, stats.averages(gained).over_types, strict=True))
