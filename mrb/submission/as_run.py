"""Convert a submission into a run, as the board and the averages read it. Values per query are absent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mrb.results.run import Run, TaskScores
from mrb.results.schema import RunRecord
from mrb.submission.reader import ReceivedSubmission


def to_run(received: ReceivedSubmission) -> Run:
    """Return the submission as a run: its results, and its averages as stored.

    The record's tasks are those of the suite.
    """
    made = received.submission
    record = RunRecord(
        schema_version=1,
        mrb_version=made.mrb_version,
        reranker=made.reranker,
        suite=None if made.definitions else made.suite,
        suite_version=None if made.definitions else made.suite_version,
        tasks=received.suite.tasks,
        not_covered=made.not_covered,
        command=made.command,
        environment=made.environment,
        timings=made.timings,
        definitions=made.definitions,
    )
    # In the suite's order, whatever the file's: floating-point sums of averages depend on it.
    listed = [task_id for task_id in received.suite.tasks if task_id in made.results]
    tasks = {
        task_id: TaskScores(
            made.results[task_id],
            (),
            np.empty(0, np.int64),
            {},
            made.rankings[task_id].queries,
            made.definitions.get(task_id),
        )
        for task_id in listed
    }
    return Run(received.folder, record, tasks, made.averages)


def replace_tasks(run: Run, tasks: dict[str, TaskScores]) -> Run:
    """Return the run with only these tasks, which have values per query, and without stored averages."""
    return replace(run, tasks=tasks, stored=None)
