"""Find, check and load the candidate list of a task: the frozen one, or one from `--candidates`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mrb.candidates import lists
from mrb.candidates.candidate_sets import check_candidate_set, list_published_sets
from mrb.candidates.lists import Candidates, Provenance
from mrb.candidates.own_lists import find_own_list
from mrb.data.corpus_subset import NeededDocuments
from mrb.data.task import Task, is_registered, locate_task_folder
from mrb.errors import CandidatesError


def has_candidates(task: Task, given: Path | None) -> bool:
    """Return whether `find_candidates` would find the task's list."""
    if given is None:
        return task.candidates is not None or (not is_registered(task.id) and find_own_list(task) is not None)
    return (given / f"{task.id}.parquet" if given.is_dir() else given).is_file()


def find_candidates(task: Task, given: Path | None, sha256: str | None = None) -> Path:
    """Return the file of the task's list: `given` (a file, or a folder that holds `<task>.parquet`), else the frozen
    one, or that of an own task (`find_own_list`, with this hash if it is known). CandidatesError if there is none."""
    if given is not None:
        path = given / f"{task.id}.parquet" if given.is_dir() else given
        if not path.is_file():
            raise CandidatesError(f"task {task.id}: no candidate list at {path}")
        return path
    if not is_registered(task.id):
        found = find_own_list(task, sha256)
        if found is None:
            raise CandidatesError(
                f"task {task.id}: its data has no candidate list (run.trec, or another of docs/own-data.md), and a "
                "reranker needs one: give --first-stage bm25 to `mrb run`, or a list with --candidates"
            )
        return found
    if task.candidates is None:
        if sets := list_published_sets(task.id):
            raise CandidatesError(
                f"task {task.id} has the lists of {len(sets)} candidate sets ({', '.join(sets)}): give one to `mrb "
                f"run` with --candidate-set, or fetch it with `mrb candidates pull {sets[0]} --task {task.id} --out "
                "candidates` and give --candidates candidates"
            )
        raise CandidatesError(
            f"task {task.id} has no published candidate list yet, and a reranker needs one: make it where the data can "
            f"be loaded with `mrb candidates make --task {task.id} --candidate-set bm25+siglip`, then run with "
            "`--candidate-set bm25+siglip`"
        )
    return locate_task_folder() / task.candidates.file


def check_all_candidates(tasks: Sequence[Task], given: Path | None, depth: int, suite_id: str | None = None) -> None:
    """Refuse the lists of a run if one of them is missing or does not fit (`check_candidates`).

    Raises:
        CandidatesError: Says how many tasks have no list and how to get them all, or what is wrong with the first list.
    """
    missing = [task for task in tasks if is_registered(task.id) and not has_candidates(task, given)]
    if len(missing) > 1:
        raise CandidatesError(_describe_missing(missing, len(tasks), given, suite_id))
    for task in tasks:
        check_candidates(task, given, depth)
    refuse_two_sets(read_list_sets(tasks, given))


def read_list_sets(tasks: Sequence[Task], given: Path | None) -> dict[str, str]:
    """Return the candidate set of each task's list (`find_candidates`). Only the files' metadata is read."""
    return {task.id: lists.read_provenance(find_candidates(task, given)).track for task in tasks}


def refuse_two_sets(sets: Mapping[str, str]) -> None:
    """Refuse a run whose lists, given as {task id: candidate set}, are of several sets: it has no average.

    Raises:
        CandidatesError: Names two tasks and their sets.
    """
    for task_id, name in sets.items():
        first, of_first = next(iter(sets.items()))
        if name != of_first:
            raise CandidatesError(
                f"task {task_id}: its list belongs to candidate set {name!r}, that of {first} to {of_first!r}; a run "
                "reranks the lists of one set: run the tasks of each set with a --name or --out of its own"
            )


def check_candidates(task: Task, given: Path | None, depth: int) -> None:
    """Refuse a list that is missing, of another task, or less deep than `depth`. Only the file's metadata is read.

    Raises:
        CandidatesError: Names the file and what is wrong.
    """
    path = find_candidates(task, given)
    _check(lists.read_provenance(path), task, depth, path)


def load_candidates(task: Task, given: Path | None, depth: int, sha256: str | None = None) -> Candidates:
    """Load the task's list, checked against the task, the depth and, for a frozen list, its hash.

    `sha256` finds the list that a first stage made for an own task; another list of the task is not refused here.

    Raises:
        CandidatesError: Names the file and what is wrong.
    """
    path = find_candidates(task, given, sha256)
    found = lists.read_parquet(path)
    _check(found.provenance, task, depth, path)
    if given is None and task.candidates is not None and found.sha256 != task.candidates.sha256:
        raise CandidatesError(f"{path}: the list's hash is {found.sha256}, task {task.id} is frozen on another")
    return found


def collect_documents(candidates: Candidates) -> NeededDocuments:
    """Return the ids of the documents in a list, so that only these are loaded."""
    return NeededDocuments(candidates.sha256, frozenset(candidates.doc_ids.to_pylist()))


_NAMED = 8
"""Tasks that a message names; more are counted by type."""


def _describe_missing(missing: Sequence[Task], of: int, given: Path | None, suite_id: str | None) -> str:
    """Return which tasks have no list, and the commands that make or fetch the lists."""
    by_type: dict[str, list[str]] = {}
    for task in missing:
        by_type.setdefault(task.type, []).append(task.id)
    named = (
        ", ".join(task.id for task in missing)
        if len(missing) <= _NAMED
        else ", ".join(f"{len(ids)} {kind}" for kind, ids in by_type.items())
    )
    where = "is published" if given is None else f"is in {given}"
    whole = suite_id is not None and len(missing) == of
    chosen = f"--suite {suite_id}" if whole else " ".join(f"--task {task.id}" for task in missing[:_NAMED])
    more = "" if whole or len(missing) <= _NAMED else " ..."
    sets = list_published_sets(missing[0].id) if given is None else []
    if sets and all(list_published_sets(task.id) == sets for task in missing):
        return (
            f"{len(missing)} of {of} tasks ({named}) have the lists of {len(sets)} candidate sets: name one with "
            f"--candidate-set, or all of them with --candidate-set all: {', '.join(sets)}"
        )
    return (
        f"a reranker needs a candidate list, and for {len(missing)} of {of} tasks none {where} ({named}): make them "
        f"where the data can be loaded with `mrb candidates make {chosen}{more} --candidate-set bm25+siglip`, then run "
        "with `--candidate-set bm25+siglip`; or fetch somebody's with `mrb candidates pull hf://datasets/ORG/NAME "
        "--out candidates` (MRB has published none yet), then run with `--candidates candidates`"
    )


def _check(made: Provenance, task: Task, depth: int, path: Path) -> None:
    lists.check_task(made, task, str(path))
    check_candidate_set(made.track, made.first_stage, made.depth, task, str(path))
    if depth > made.depth:
        raise CandidatesError(f"{path}: the list is {made.depth} deep, depth {depth} was asked for")
