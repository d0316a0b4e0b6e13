"""The gains of each run over the first stage with their intervals: of tasks, types, families and the mean over tasks.

They come from paired values per query, as everything that is tested, and exist only for runs that have every query's
value of all tasks. The gain of the average over types comes with the ranks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mrb.data.task import FAMILY_OF_TYPE
from mrb.leaderboard.tables.per_query_cache import compute_first_stage_values, explain_missing_values
from mrb.leaderboard.tables.rows import AVERAGE_TASKS, Table
from mrb.metrics.measures import HEADLINE
from mrb.metrics.significance import Difference, PairedTests
from mrb.metrics.statistics import Average, TaskSample
from mrb.results.compare import sample_runs

_BLOCK = 50
"""Runs that are tested at a time: each takes 80 kB for each column."""


def compute_gains(table: Table) -> dict[str, dict[str, Difference]]:
    """Return the gain in the headline measure by run and column; nothing of a run without all values per query.

    Empty if the first stage's values are not available.
    """
    task_ids = table.comparison.task_ids
    runs = [run for run in table.runs if not explain_missing_values(run, task_ids)]
    if not runs:
        return {}
    firsts = {task_id: compute_first_stage_values(table.comparison, task_id) for task_id in task_ids}
    groups = _list_columns(table)
    found: dict[str, dict[str, Difference]] = {}
    for start in range(0, len(runs), _BLOCK):
        block = runs[start : start + _BLOCK]
        samples: list[TaskSample] = []
        for sample in sample_runs(block, task_ids, str(HEADLINE)):
            first = firsts[sample.task_id]
            if first is None:
                return {}
            samples.append(replace(sample, values=np.column_stack((sample.values, first))))
        tests = PairedTests(samples, on_tasks=0, groups=groups)
        pairs = [(len(block), column) for column in range(len(block))]
        for key in groups:
            for run, gain in zip(block, tests.test_average(key, pairs).values(), strict=True):
                found.setdefault(run.name, {})[key] = gain
    return found


def _list_columns(table: Table) -> dict[str, tuple[Average, tuple[str, ...]]]:
    """Return what each column averages: over tasks or over types, and which tasks."""
    task_ids = table.comparison.task_ids
    columns: dict[str, tuple[Average, tuple[str, ...]]] = {task_id: ("tasks", (task_id,)) for task_id in task_ids}
    if table.comparison.suite is None:
        return columns
    columns |= {name: ("tasks", table.list_tasks_of_type(name)) for name in table.type_names}
    for family in table.families:
        types = [name for name in table.type_names if FAMILY_OF_TYPE[name] == family]
        columns[family] = "types", tuple(task_id for name in types for task_id in table.list_tasks_of_type(name))
    return columns | {AVERAGE_TASKS: ("tasks", task_ids)}
