"""What a call refuses to continue in a folder: another reranker's scores, another candidate set, or, for a trial of
fewer queries or less depth, a whole result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mrb.candidates.load import read_list_sets
from mrb.data.task import Suite, load_suite
from mrb.data.task_filter import count_queries
from mrb.errors import ResultError
from mrb.evaluation.journal import Journal
from mrb.evaluation.spec import RunSpec, TaskSpec
from mrb.results.schema import (
    JOURNAL_FILE,
    RESULT_FILE,
    RUN_FILE,
    SHARD_FILE,
    RerankerInfo,
    Result,
    RunRecord,
    ShardRecord,
    read_result,
    read_run,
    read_shard,
)


def read_whole_result(folder: Path) -> Result | None:
    """Return the task's result, None if there is none or it is a trial's.

    A result that cannot be read is not protected: it is written again from the journal.
    """
    result = _read_result(folder)
    return None if result is None or result.data.selection == "limit" else result


def _read_result(folder: Path) -> Result | None:
    """Return the task's result, None if there is none or it cannot be read."""
    try:
        return read_result(folder / RESULT_FILE) if (folder / RESULT_FILE).is_file() else None
    except ResultError:
        return None


def refuse_replacement(folder: Path, spec: TaskSpec) -> None:
    """Raise ResultError if the task's folder has a whole result of more queries or more depth than `spec`."""
    whole = read_whole_result(folder)
    if whole is None:
        return
    queries, smaller = whole.counts.queries, []
    if spec.limit is not None and (spec.limit < queries or (whole.data.selection == "sample" and spec.sample is None)):
        smaller.append(f"--limit {spec.limit}")
    if spec.sample is not None and whole.data.selection == "all" and spec.sample.queries < queries:
        smaller.append(f"a sample of {spec.sample.queries}")
    if spec.depth < whole.candidates.depth:
        smaller.append(f"--depth {spec.depth}")
    if smaller:
        raise ResultError(
            f"{folder / RESULT_FILE}: the result of {queries} queries at depth {whole.candidates.depth} would be "
            f"replaced by {' and '.join(smaller)}; give the trial another --name or --out, or --fresh to discard it"
        )


def choose_suite(suite: Suite | None, earlier: RunRecord | None) -> Suite | None:
    """Return the suite of a run's folder after a call: that of the call, or else of the `earlier` calls.

    A call on a sub-suite leaves the folder of the whole suite as it is.
    """
    if earlier is None or earlier.suite is None:
        return suite
    before = load_suite(earlier.suite)
    return before if suite is None or suite.part_of == before.id else suite


def refuse_mixture(folder: Path, spec: RunSpec, earlier: RunRecord) -> None:
    """Raise ResultError if tasks of `spec` do not fit the other tasks in the folder.

    A run of a suite holds tasks of the suite only, and any run holds the lists of one candidate set. The average is
    over the tasks of the run's suite, or over all of its tasks; it exists only for one depth and over whole tasks, and
    no call may take it away.
    """
    suite = choose_suite(spec.suite, earlier)
    if suite is not None:
        known = (*(task.id for task in spec.tasks), *earlier.tasks)
        if outside := next((task_id for task_id in known if task_id not in suite.tasks), None):
            raise ResultError(
                f"{folder}: task {outside} is not in suite {suite.id}, whose run this folder holds; give another "
                "--name or --out"
            )
    refuse_other_set(folder, read_list_sets(spec.tasks, spec.candidates), earlier)
    averaged = suite.tasks if suite else earlier.tasks
    chosen = {task.id for task in spec.tasks}
    inside = not chosen.isdisjoint(averaged)
    limited = any(spec.limit is not None and spec.limit < count_queries(task, spec.sample) for task in spec.tasks)
    for task_id in averaged:
        whole = None if task_id in chosen else read_whole_result(folder / task_id)
        if whole is None:
            continue
        other = [f"--limit {spec.limit}"] if limited and (inside or suite is None) else []
        if inside and spec.depth != whole.candidates.depth:
            other.append(f"--depth {spec.depth}")
        if other:
            raise ResultError(
                f"{folder}: has {task_id} with all its queries at depth {whole.candidates.depth}; "
                f"{' and '.join(other)} for other tasks would leave the run without an average: give another --name "
                "or --out"
            )


def refuse_other_set(folder: Path, sets: Mapping[str, str], earlier: RunRecord) -> None:
    """Raise ResultError if the folder has results of other tasks than those of `sets` on another candidate set.

    `sets` gives the set of the list of each task that is scored now; results of these tasks are replaced or refused.
    """
    for task_id in earlier.tasks:
        result = None if task_id in sets else _read_result(folder / task_id)
        other = next((item for item in sets.items() if result and item[1] != result.candidates.track), None)
        if result is not None and other is not None:
            raise ResultError(
                f"{folder}: has {task_id} on candidate set {result.candidates.track!r}, and the list of {other[0]} is "
                f"of {other[1]!r}; a run has the lists of one set: give this one another --name or --out"
            )


def refuse_smaller_shard(folder: Path, shard: ShardRecord) -> None:
    """Raise ResultError if `folder` holds a shard of a whole run and `shard` is of a trial."""
    if not (folder / SHARD_FILE).is_file():
        return
    whole = read_shard(folder)
    if whole.limit is None and (shard.limit is not None or shard.depth < whole.depth):
        raise ResultError(
            f"{folder}: holds a shard of a run of all queries at depth {whole.depth}; give the trial another --name or "
            "--out, or --fresh to discard it"
        )


def read_earlier_record(folder: Path, info: RerankerInfo, *, fresh: bool) -> RunRecord | None:
    """Return the record of an earlier call in the same folder, to which this call adds tasks; None if there is none.

    Raises ResultError if the folder holds scores of another reranker, unless `fresh`: then returns None. A call that
    failed before its first score has left a record, but nothing to mix with.
    """
    if not (folder / RUN_FILE).exists():
        return None
    earlier = read_run(folder)
    differing = earlier.reranker.describe_differences(info)
    if not differing:
        return earlier
    if fresh or not any(_holds_scores(folder / task_id) for task_id in earlier.tasks):
        return None
    raise ResultError(
        f"{folder}: holds scores of another run of {earlier.reranker.name} ({differing}); give another name to this "
        "run (--name), or start over (--fresh)"
    )


def _holds_scores(folder: Path) -> bool:
    return (folder / RESULT_FILE).exists() or bool(Journal(folder / JOURNAL_FILE).records)
