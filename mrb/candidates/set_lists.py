"""Find the lists of a candidate set: frozen in the package, published on the Hub, or in folders of the user's."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mrb._util.files import is_device_name, name_run
from mrb._util.hashing import hash_json
from mrb.candidates.candidate_sets import PublishedList, find_published_list, list_published_sets
from mrb.candidates.lists import read_parquet, read_provenance
from mrb.candidates.load import find_candidates
from mrb.candidates.pull_lists import copy_list, find_local_lists, pull_published
from mrb.data.task import Suite, Task
from mrb.errors import CandidatesError
from mrb.hub.address import is_address
from mrb.hub.manifest import find_cache_root

logger = logging.getLogger(__name__)

LISTS_FOLDER = Path("candidates")
"""Where `mrb candidates make` writes by default: lists of a candidate set in a folder of its name."""
ALL_SETS = "all"
"""The word for every set in which the tasks have lists."""


def find_set_lists(set_id: str, given: str | None, tasks: Sequence[Task]) -> tuple[Path | None, dict[str, str]]:
    """Return (folder of the tasks' lists in a candidate set, {task id: address at its commit}).

    The folder is None if all of them are the frozen lists in the package. Lists that are not published are taken from
    where `mrb candidates make` writes them (`locate_made_set`); a line says so.

    Args:
        set_id: The candidate set.
        given: The value of `--candidates`: the lists of the set, or a folder that has a folder of each set. None for
            the frozen and the published lists.
        tasks: The tasks.

    Raises:
        CandidatesError: A task has no list in this set, or a list is of another set.
    """
    if given is not None:
        inside = Path(given) / set_id
        folder, pulled = find_local_lists(str(inside) if not is_address(given) and inside.is_dir() else given, tasks)
        assert folder is not None  # something is given
        for task in tasks:
            check_set(find_candidates(task, folder), set_id)
        return folder, pulled
    if (made := locate_made_set(set_id, tasks)) is not None:
        logger.info(f"candidate set {set_id}: not published; the lists in {made}")
        return find_set_lists(set_id, str(made), tasks)
    published = list_published(set_id, tasks)
    if not published:
        return None, {}
    pulled_lists = pull_published(published)
    files = [found.file(task_id) for found in pulled_lists for task_id in found.lists]
    files += [find_candidates(task, None) for task in tasks if is_frozen_in(task, set_id)]
    key = hash_json([[path.name, read_parquet(path).sha256] for path in files])
    folder = find_cache_root() / "candidates" / "sets" / f"{set_id}-{key[:16]}"
    for path in files:
        copy_list(path, folder)
    return folder, {task_id: str(found.source) for found in pulled_lists for task_id in found.lists}


def locate_made_set(set_id: str, tasks: Sequence[Task]) -> Path | None:
    """Return the folder in the working folder into which `mrb candidates make` wrote the lists of a set.

    None if it is not there, or if the set has a frozen or published list of every task: those come first. Raises
    CandidatesError as `name_set_folder` does.
    """
    if all(is_frozen_in(task, set_id) or find_published_list(set_id, task.id) for task in tasks):
        return None
    folder = name_set_folder(set_id)
    return folder if folder.is_dir() else None


def name_set_folder(set_id: str | None) -> Path:
    """Return the folder into which `mrb candidates make` writes the lists of a set, or lists of none.

    Raises:
        CandidatesError: The set's name cannot be that of a folder.
    """
    if set_id is None:
        return LISTS_FOLDER
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}", set_id) or is_device_name(set_id):
        raise CandidatesError(
            f"--candidate-set {set_id}: its lists go into a folder of this name: wanted at most 64 letters, digits, "
            "'.', '+', '_', '-', starting with a letter or digit"
        )
    return LISTS_FOLDER / set_id


def list_published(set_id: str, tasks: Sequence[Task]) -> list[PublishedList]:
    """Return the published lists of those of the tasks whose list in the candidate set is not frozen in the package.

    Raises:
        CandidatesError: A task has no list in this set.
    """
    published = {task.id: find_published_list(set_id, task.id) for task in tasks if not is_frozen_in(task, set_id)}
    if missing := [task_id for task_id, one in published.items() if one is None]:
        has = ", ".join(list_sets([task for task in tasks if task.id == missing[0]])) or "no set"
        raise CandidatesError(
            f"task {missing[0]} has no list in candidate set {set_id!r} ({len(missing)} such in all); it has lists in "
            f"{has}; make it with `mrb candidates make --task {missing[0]} --candidate-set {set_id}`, or name lists of "
            "your own with --candidates"
        )
    return [one for one in published.values() if one is not None]


def is_frozen_in(task: Task, set_id: str) -> bool:
    """Return whether the task's frozen list in the package is of this candidate set."""
    return task.candidates is not None and task.candidates.track == set_id


def find_result_lists(given: str | None, results: Sequence[tuple[Task, str]]) -> Path | None:
    """Return where the lists of results are, each of a task and a candidate set: those of `--candidates` if given, else
    the published ones, if all are of one published set; None means the frozen lists."""
    tasks = [task for task, _ in results]
    sets = {set_id for _, set_id in results}
    if given is None and len(sets) == 1 and all(find_published_list(set_id, task.id) for task, set_id in results):
        return find_set_lists(sets.pop(), None, tasks)[0]
    return find_local_lists(given, tasks)[0]


def describe_unverified(set_id: str, tasks: Sequence[Task]) -> str:
    """Return how many lists of a set have a hash that nobody has verified yet; empty if none."""
    found = [find_published_list(set_id, task.id) for task in tasks]
    count = sum(one is not None and one.sha256 is None for one in found)
    return (count and f"candidate set {set_id}: lists whose hash is not yet verified: {count}; results record it") or ""


def check_set(path: Path, set_id: str) -> None:
    """Refuse a list of another candidate set."""
    if (made := read_provenance(path)).track != set_id:
        raise CandidatesError(
            f"{path}: its list of {made.task} belongs to candidate set {made.track!r}, not {set_id!r}; a folder of "
            "lists holds one set, or a folder of each set"
        )


def list_sets(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Return the candidate sets in which every one of the tasks has a frozen or published list."""
    found = [
        [*([task.candidates.track] if task.candidates is not None else []), *list_published_sets(task.id)]
        for task in tasks
    ]
    return tuple(set_id for set_id in dict.fromkeys(found[0]) if all(set_id in sets for sets in found))


def expand_sets(names: Sequence[str], suite: Suite | None, tasks: Sequence[Task]) -> tuple[str, ...]:
    """Return the candidate sets that `--candidate-set` names, each once; `all` means the suite's, else the tasks'.

    Raises:
        CandidatesError: `all` is named, and the tasks have no set in common.
    """
    found: list[str] = []
    for name in names:
        if name != ALL_SETS:
            found.append(name)
            continue
        every = suite.candidate_sets if suite is not None and suite.candidate_sets else list_sets(tasks)
        if not every:
            raise CandidatesError("--candidate-set all: the tasks have no candidate set in common; name one")
        found += every
    return tuple(dict.fromkeys(found))


def refuse_equal_folders(set_ids: Iterable[str]) -> None:
    """Refuse candidate sets whose runs would share a folder, because a folder's name has no `+` (`name_run`).

    Raises:
        CandidatesError: Names two such sets.
    """
    taken: dict[str, str] = {}
    for set_id in set_ids:
        folder = name_run("", set_id).casefold()
        if (other := taken.setdefault(folder, set_id)) != set_id:
            raise CandidatesError(
                f"--candidate-set {other} and {set_id}: both would be run in a folder NAME{name_run('', set_id)}; run "
                "each in a command of its own, with another --name"
            )
