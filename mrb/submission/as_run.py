"""A submission as the board and the averages read it: a run whose values per query are not there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mrb.results.run import Run, TaskScores
from mrb.results.schema import RunRecord
from mrb.submission.reader import Received


def as_run(received: Received) -> Run:
    """The submission as a run: its results, and its averages as stored. The record's tasks are those of the suite."""
    made = received.submission
    record = RunRecord(
        schema_version=1,
        mrb_version=made.mrb_version,
        reranker=made.reranker,
        suite=made.suite,
        suite_version=made.suite_version,
        tasks=received.suite.tasks,
        not_covered=made.not_covered,
        command=made.command,
        environment=made.environment,
        timings=made.timings,
    )
    # The suite's order, whatever the file's: averages add in it.
    listed = [task_id for task_id in received.suite.tasks if task_id in made.results]
    tasks = {
        task_id: TaskScores(made.results[task_id], (), np.empty(0, np.int64), {}, made.rankings[task_id].queries)
        for task_id in listed
    }
    return Run(received.folder, record, tasks, made.averages)


def with_values(run: Run, tasks: dict[str, TaskScores]) -> Run:
    """The run with these tasks alone, which have values per query, and no stored averages."""
    return replace(run, tasks=tasks, stored=None)
