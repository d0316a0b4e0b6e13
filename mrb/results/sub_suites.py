"""A part of a run that has averages of its own: the run restricted to a suite or sub-suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mrb.data.task import Suite, list_sub_suites, load_suite
from mrb.errors import ResultError
from mrb.results.run import Run, list_averaged_tasks
from mrb.results.suite_averages import SuiteAverages


def restrict_run(run: Run, suite: Suite) -> Run:
    """Return the run as one of `suite`: its tasks, and of its averages those over these tasks.

    Args:
        run: A run of the suite, of the suite that it is part of, or of any tasks.
        suite: A suite or sub-suite.

    Raises:
        ResultError: The suite does not fit the run (`_check_fit`), or the run has no result of it.
    """
    tasks = {task_id: scores for task_id, scores in run.tasks.items() if task_id in suite.tasks}
    if not tasks:
        raise ResultError(f"{run.where}: has no result of suite {suite.id}")
    _check_fit(run, suite)
    fields = {
        "suite": suite.id,
        "suite_version": suite.version,
        "tasks": suite.tasks,
        "not_covered": tuple(item for item in run.record.not_covered if item.task in suite.tasks),
    }
    return replace(run, record=run.record.model_copy(update=fields), tasks=tasks, stored=_restrict_stored(run, suite))


def _check_fit(run: Run, suite: Suite) -> None:
    """Refuse a suite whose name and version the run's numbers must not get.

    A run of a suite becomes one of this suite, of its sub-suites, or of a suite with the same sample of the queries,
    always at the version that was run. A run without a suite must have scored all queries, or the suite's sample.
    """
    record = run.record
    own = None if record.suite is None else load_suite(record.suite)
    if own is not None and record.suite_version != suite.version:
        raise ResultError(
            f"{run.where}: ran suite {own.id} {record.suite_version}, and suite {suite.id} of this version of MRB is "
            f"{suite.version}; run it again, or leave --suite out"
        )
    if own is not None and own.sample != suite.sample:
        raise ResultError(
            f"{run.where}: its suite {own.id} and suite {suite.id} take other queries of their tasks; give --suite "
            f"{own.id}, or run suite {suite.id}"
        )
    wrong = "sample" if suite.sample is None else "all"
    found = [task_id for task_id in suite.tasks if task_id in run and run[task_id].result.data.selection == wrong]
    if own is None and found:
        raise ResultError(
            f"{run.where}: {found[0]} was scored on other queries (selection: {wrong}) than suite {suite.id} takes; "
            f"run suite {suite.id}"
        )


def restrict_runs(runs: Sequence[Run], suite_id: str | None) -> list[Run]:
    """Return the runs restricted to a suite (`restrict_run`), or as they are without one.

    Raises TaskError if there is no such suite, ResultError if a run has no result of it.
    """
    return list(runs) if suite_id is None else [restrict_run(run, load_suite(suite_id)) for run in runs]


def list_sub_runs(run: Run) -> list[Run]:
    """Return the run restricted to each sub-suite of its suite of which it has all tasks, in the suite's order."""
    suite = None if run.record.suite is None else load_suite(run.record.suite)
    parts = () if suite is None else list_sub_suites(suite)
    return [restrict_run(run, part) for part in parts if run.tasks.keys() >= set(part.tasks)]


def name_sub_run(part: Run, whole: Run) -> str:
    """Return the short name of the sub-suite of one of `list_sub_runs(whole)`: its id without that of the suite."""
    return (part.record.suite or "").removeprefix(f"{whole.record.suite}-")


def _restrict_stored(run: Run, suite: Suite) -> SuiteAverages | None:
    if run.stored is None or run.record.suite == suite.id:
        return run.stored
    found = run.stored.sub_suites.get(suite.id)
    # A part of a type has no stored average.
    partial = {run.get_task(task_id).type for task_id in list_averaged_tasks(run) if task_id not in suite.tasks}
    types = {run.get_task(task_id).type for task_id in suite.tasks if task_id in run.tasks}
    of_types = {kind: own for kind, own in run.stored.of_types.items() if kind in types - partial}
    return SuiteAverages(tasks=found and found.tasks, types=found and found.types, of_types=of_types)
