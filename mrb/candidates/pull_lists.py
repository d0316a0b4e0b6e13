"""Pull candidate lists from the Hub at a commit into MRB's cache. Only verified lists enter the cache.

- `<cache>/candidates/<ORG>--<NAME>/<commit>/[folder/]<task>.parquet`: a list.
- `<cache>/candidates/<ORG>--<NAME>/revisions/<branch>.json`: the commit of a branch at the last request.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mrb._util.files import open_atomically
from mrb._util.parquet import MAX_FILE_BYTES
from mrb.candidates.candidate_sets import PublishedList, check_candidate_set
from mrb.candidates.lists import Provenance, check_task, read_parquet, write_parquet
from mrb.data.task import Task, load_task
from mrb.errors import CandidatesError, TaskError
from mrb.hub.address import HubFolder, is_address, parse_address
from mrb.hub.client import check_space, is_offline, list_files, remove_cached_file, verify_file
from mrb.hub.manifest import Manifest, find_cache_root
from mrb.hub.revision import name_folder, resolve_revision

logger = logging.getLogger(__name__)

SUFFIX = ".parquet"


@dataclass(frozen=True)
class ListInfo:
    """The description of a list without its content. `sha256` is the hash of the content."""

    provenance: Provenance
    sha256: str
    queries: int
    pairs: int


@dataclass(frozen=True)
class PulledLists:
    """Verified lists in MRB's cache, by task.

    `source` is the folder on the Hub at its commit. `passed_over` are parquet files there that no task has the name of.
    """

    source: HubFolder
    folder: Path
    lists: dict[str, ListInfo]
    passed_over: tuple[str, ...] = ()

    def file(self, task_id: str) -> Path:
        """Return the path of a task's list."""
        return self.folder / f"{task_id}{SUFFIX}"


def pull_lists(source: HubFolder, tasks: Sequence[Task]) -> PulledLists:
    """Pull and verify the lists of `tasks`, or all lists of the folder if `tasks` is empty.

    A list in the cache is verified again without a request. Its size is logged before the download. Raises DataError
    or CandidatesError if repository, revision, folder or list does not exist, without access or network, offline if a
    list is not in the cache, and for a file that is not a list of its task.
    """
    pinned = resolve_revision(source)
    folder = find_cache_root() / "candidates" / name_folder(pinned) / (pinned.revision or "") / pinned.folder
    manifest: Manifest | None = None
    passed_over: tuple[str, ...] = ()
    if not tasks and is_offline():
        names = [path.name for path in sorted(folder.glob(f"*{SUFFIX}"))]
        tasks, passed_over = _match_tasks(names)
    elif not tasks:
        manifest = list_hub_folder(pinned)
        tasks, passed_over = _match_tasks(Path(file.path).name for file in manifest.files)
    if not tasks:
        here = "in the cache, and offline" if is_offline() else "there"
        raise CandidatesError(f"{pinned}: no candidate list {here}: wanted files <task>{SUFFIX}, named after tasks")
    lists = {task.id: _read_cached(folder / f"{task.id}{SUFFIX}", task) for task in tasks}
    missing = [task for task in tasks if lists[task.id] is None]
    if missing and is_offline():
        raise CandidatesError(
            f"{pinned}: the list of {missing[0].id} is not in the cache, and MRB is offline; "
            "pull it on a machine with network access"
        )
    if missing:
        manifest = manifest or list_hub_folder(pinned)
        lists |= _fetch_lists(pinned, manifest, missing, folder)
    return PulledLists(pinned, folder, {task_id: one for task_id, one in lists.items() if one is not None}, passed_over)


def pull_published(published: Iterable[PublishedList]) -> list[PulledLists]:
    """Pull published lists from their repositories. Raises CandidatesError if one has another hash than published.

    A list whose hash nobody has verified yet is taken as it is.
    """
    by_place: dict[HubFolder, list[PublishedList]] = {}
    found = []
    for one in published:
        if one.top_ranked:
            found.append(_pull_ranked(one))
        else:
            by_place.setdefault(one.place, []).append(one)
    for place, lists in by_place.items():
        pulled = pull_lists(place, [load_task(one.task) for one in lists])
        for one in lists:
            _check_published(one, pulled.lists[one.task])
        found.append(pulled)
    return found


def _check_published(one: PublishedList, here: ListInfo) -> None:
    if here.provenance.track != one.candidate_set or one.sha256 not in (None, here.sha256):
        raise CandidatesError(
            f"{one.place}: the list of {one.task} has hash {here.sha256} in candidate set {here.provenance.track}; "
            f"published is {one.sha256} in {one.candidate_set}"
        )


def _pull_ranked(one: PublishedList) -> PulledLists:
    """Return the list that is made of published tables, in the cache of their repository and commit."""
    from mrb.candidates.ranked_tables import make_ranked_list  # it needs the readers of score files

    task = load_task(one.task)
    folder = find_cache_root() / "candidates" / name_folder(one.place) / one.commit / "top_ranked" / one.candidate_set
    path = folder / f"{task.id}{SUFFIX}"
    here = _read_cached(path, task)
    if here is None:
        write_parquet(make_ranked_list(one, task), path)
        here = verify_list(path, task, str(path))
    _check_published(one, here)
    return PulledLists(one.place, folder, {task.id: here})


def find_local_lists(given: str | None, tasks: Sequence[Task]) -> tuple[Path | None, dict[str, str]]:
    """Return (local file or folder, {task id: address at its commit}) for the value of `--candidates`.

    An address is pulled first; a local path has no addresses. Returns (None, {}) if nothing is given. Raises
    CandidatesError if the path does not exist.
    """
    if given is None:
        return None, {}
    if is_address(given):
        pulled = pull_lists(parse_address(given), tasks)
        return pulled.folder, dict.fromkeys(pulled.lists, str(pulled.source))
    if not Path(given).exists():
        raise CandidatesError(f"--candidates {given}: no such file or folder")
    return Path(given), {}


def copy_list(path: Path, folder: Path, name: str | None = None) -> Path:
    """Copy a list or pack atomically into `folder`, under `name` if given, and return the path of the copy."""
    target = folder / (name or path.name)
    with path.open("rb") as source, open_atomically(target) as file:
        shutil.copyfileobj(source, file)
    return target


def verify_list(path: Path, task: Task, where: str) -> ListInfo:
    """Read the list in `path` and verify that it belongs to `task`. Raises CandidatesError, which names `where`."""
    try:
        found = read_parquet(path)
    except CandidatesError as error:
        raise CandidatesError(str(error).replace(str(path), where)) from error
    made = found.provenance
    check_task(made, task, where)
    check_candidate_set(made.track, made.first_stage, made.depth, task, where)
    return ListInfo(made, found.sha256, len(found), found.pairs)


def _read_cached(path: Path, task: Task) -> ListInfo | None:
    """Return the list in the cache; None if it is missing, or if it is damaged and can be downloaded again."""
    if not path.is_file():
        return None
    try:
        return verify_list(path, task, str(path))
    except CandidatesError:
        if is_offline():
            raise
        return None


def _fetch_lists(pinned: HubFolder, manifest: Manifest, tasks: Sequence[Task], folder: Path) -> dict[str, ListInfo]:
    files = {Path(file.path).name: file for file in manifest.files}
    for task in tasks:
        file = files.get(f"{task.id}{SUFFIX}")
        if file is None:
            there = ", ".join(name.removesuffix(SUFFIX) for name in sorted(files) if name.endswith(SUFFIX)) or "none"
            raise CandidatesError(f"{pinned}: no list for task {task.id}; lists there: {there}")
        if file.size > MAX_FILE_BYTES:
            raise CandidatesError(f"{pinned}: {file.path}: larger than {MAX_FILE_BYTES} bytes")
    paths = [pinned.path(f"{task.id}{SUFFIX}") for task in tasks]
    logger.info(
        f"{pinned}: {len(paths)} lists, {sum(manifest.file(path).size for path in paths) / 1e6:,.2f} MB to fetch"
    )
    check_space(manifest, paths)
    found = {}
    for task, path in zip(tasks, paths, strict=True):
        local, _ = verify_file(manifest, path)
        try:
            found[task.id] = verify_list(local, task, f"{pinned}: {path}")
        except CandidatesError:
            remove_cached_file(local)
            raise
        copy_list(local, folder)
    return found


def list_hub_folder(pinned: HubFolder) -> Manifest:
    """Ask the Hub for the files directly in the folder; a path outside of it is left out."""
    revision = pinned.revision or ""
    listed = list_files(pinned.repository, revision, pinned.folder)
    files = tuple(file for file in listed if file.path == pinned.path(Path(file.path).name))
    return Manifest(repository=pinned.repository, revision=revision, files=files, tables={})


def _match_tasks(names: Iterable[str]) -> tuple[list[Task], tuple[str, ...]]:
    """Return (the tasks that files are named after, the parquet files that no task has the name of)."""
    tasks, others = [], []
    for name in names:
        if not name.endswith(SUFFIX):
            continue
        try:
            tasks.append(load_task(name.removesuffix(SUFFIX)))
        except TaskError:
            others.append(name)
    return tasks, tuple(others)
