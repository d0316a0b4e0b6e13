"""Select a run's tasks and depth, and find and load the candidate list of each task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mrb.candidates import lists
from mrb.candidates.candidate_sets import check_track
from mrb.candidates.lists import Candidates
from mrb.data.corpus_subset import Needed
from mrb.data.task import TYPES, Sample, Suite, Task, load_suite, load_task, task_folder
from mrb.errors import CandidatesError, TaskError

DEFAULT_SUITE = "mini"
DEFAULT_DEPTH = 100


@dataclass(frozen=True)
class Selection:
    """The tasks of a run in order, its suite (None if tasks were named singly), depth, and the suite's sample."""

    tasks: tuple[Task, ...]
    suite: Suite | None
    depth: int
    sample: Sample | None


def select(
    suite_id: str | None,
    task_ids: Sequence[str],
    types: Sequence[str],
    depth: int | None,
    qrels: Literal["cleaned", "raw"] = "cleaned",
) -> Selection:
    """Return the tasks that `--suite`, `--task` and `--type` name.

    Args:
        suite_id: The suite; if None and no task is named, the suite `mini`.
        task_ids: Tasks, which must be in the suite if one is named; if empty, all tasks of the suite.
        types: Keep only tasks of these types; if empty, all types.
        depth: The depth; if None, the suite's. Without a suite: the depth of `mini` for embedded tasks only, else 100.
        qrels: Which judgements to use.

    Raises:
        TaskError: A suite, task or type is unknown, a task is not in the suite, or no task is left.
    """
    unknown = [name for name in types if name not in TYPES]
    if unknown:
        raise TaskError(f"unknown task type {unknown[0]!r}; there are: {', '.join(TYPES)}")
    suite = load_suite(suite_id or DEFAULT_SUITE) if suite_id or not task_ids else None
    if suite is not None:
        outside = [task_id for task_id in task_ids if task_id not in suite.tasks]
        if outside:
            raise TaskError(
                f"task {outside[0]!r} is not in suite {suite.id!r}; `mrb tasks --suite {suite.id}` lists it"
            )
    wanted = list(dict.fromkeys(task_ids)) or list(suite.tasks if suite else ())
    tasks = tuple(task.with_qrels(qrels) for task in map(load_task, wanted) if not types or task.type in types)
    if not tasks:
        raise TaskError(f"no task is left: none of {len(wanted)} has type {' or '.join(types)}")
    return Selection(tasks, suite, depth or _depth(suite, tasks), suite.sample if suite else None)


def _depth(suite: Suite | None, tasks: Sequence[Task]) -> int:
    if suite is not None:
        return suite.depth
    mini = load_suite(DEFAULT_SUITE)
    embedded = all(task.source.kind == "embedded" for task in tasks)
    return mini.depth if embedded else DEFAULT_DEPTH


def has_candidates(task: Task, given: Path | None) -> bool:
    """Return whether `candidates_path` would find the task's list."""
    if given is None:
        return task.candidates is not None
    return (given / f"{task.id}.parquet" if given.is_dir() else given).is_file()


def candidates_path(task: Task, given: Path | None) -> Path:
    """Return the file of the task's list: `given` (a file, or a folder that holds `<task>.parquet`), else the frozen
    one. CandidatesError if there is none."""
    if given is not None:
        path = given / f"{task.id}.parquet" if given.is_dir() else given
        if not path.is_file():
            raise CandidatesError(f"task {task.id}: no candidate list at {path}")
        return path
    if task.candidates is None:
        raise CandidatesError(
            f"task {task.id} has no published candidate list yet, and a reranker needs one: make it where the data can "
            f"be loaded with `mrb candidates make --task {task.id} --track bm25+siglip --out candidates`, "
            "then run with `--candidates candidates`"
        )
    return task_folder() / task.candidates.file


def check_candidates(task: Task, given: Path | None, depth: int) -> None:
    """Refuse a list that is missing, of another task, or less deep than `depth`. Only the file's metadata is read.

    Raises:
        CandidatesError: Names the file and what is wrong.
    """
    path = candidates_path(task, given)
    made = lists.read_provenance(path)
    lists.check_task(made, task, str(path))
    check_track(made.track, made.first_stage, made.depth, task, str(path))
    if depth > made.depth:
        raise CandidatesError(f"{path}: the list is {made.depth} deep, depth {depth} was asked for")


def needed(candidates: Candidates) -> Needed:
    """Return the ids of the documents in a list, so that only these are loaded."""
    return Needed(candidates.sha256, frozenset(candidates.doc_ids.to_pylist()))


def load_candidates(task: Task, given: Path | None, depth: int) -> Candidates:
    """Load the task's list, checked against the task, the depth and, for a frozen list, its hash.

    Raises:
        CandidatesError: Names the file and what is wrong.
    """
    check_candidates(task, given, depth)
    path = candidates_path(task, given)
    found = lists.read_parquet(path)
    if given is None and task.candidates is not None and found.sha256 != task.candidates.sha256:
        raise CandidatesError(f"{path}: the list's hash is {found.sha256}, task {task.id} is frozen on another")
    return found
