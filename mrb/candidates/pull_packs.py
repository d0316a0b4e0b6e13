"""Pull judgement packs from the Hub at a commit into MRB's cache, beside the lists that they belong to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from mrb.candidates.candidate_sets import load_published_lists
from mrb.candidates.judgement_packs import PACK_SUFFIX, check_pack, read_pack
from mrb.candidates.pull_lists import copy_list, find_local_lists, list_hub_folder
from mrb.data.task import Task, is_registered, load_task
from mrb.errors import CandidatesError, MRBError
from mrb.hub.address import HubFolder, is_address, parse_address
from mrb.hub.client import is_offline, remove_cached_file, verify_file
from mrb.hub.manifest import find_cache_root
from mrb.hub.revision import name_folder, resolve_revision

logger = logging.getLogger(__name__)


def find_local_packs(given: str | None, tasks: Sequence[Task] = ()) -> Path | None:
    """Return the folder of judgement packs that `--candidates` names; an address is pulled first.

    If nothing is given, it is the folder of the published packs (`pull_published_packs`), None if none is published.
    Raises CandidatesError if the path does not exist.
    """
    if given is None:
        return pull_published_packs(tasks)
    return pull_packs(parse_address(given), tasks) if is_address(given) else find_local_lists(given, tasks)[0]


def pull_published_packs(tasks: Sequence[Task] = ()) -> Path | None:
    """Pull the published judgement packs (`published_lists.toml`) of `tasks`, or of all, that the cache lacks.

    Returns the folder in MRB's cache that holds them, None if no list has one. Offline, those in the cache are used.
    Raises DataError without access, CandidatesError if a pack has another hash than published.
    """
    published = [one for one in load_published_lists().lists if one.pack_sha256 is not None]
    root = find_cache_root() / "packs"
    wanted = {task.id for task in tasks}
    for one in published:
        path = root / str(one.pack_sha256) / f"{one.task}{PACK_SUFFIX}"
        if path.is_file() or is_offline() or (wanted and one.task not in wanted):
            continue
        pulled = pull_packs(one.place, [load_task(one.task)]) / path.name
        found = read_pack(pulled).sha256 if pulled.is_file() else "none"
        if found != one.pack_sha256:
            raise CandidatesError(
                f"{one.place}: the pack of {one.task} has hash {found}, published is {one.pack_sha256}"
            )
        copy_list(pulled, path.parent, path.name)
    return root if published else None


def pull_packs(source: HubFolder, tasks: Sequence[Task]) -> Path:
    """Pull and verify the judgement packs of `tasks` that the folder has, or all of them if `tasks` is empty.

    Returns the folder in MRB's cache that holds them. Offline, those in the cache are used. Raises DataError or
    CandidatesError if repository, revision or folder does not exist, and for a file that is not a pack of its task.
    """
    pinned = resolve_revision(source)
    folder = find_cache_root() / "candidates" / name_folder(pinned) / (pinned.revision or "") / pinned.folder
    if is_offline():
        return folder
    manifest = list_hub_folder(pinned)
    wanted = {task.id for task in tasks}
    for file in manifest.files:
        name = Path(file.path).name
        task_id = name.removesuffix(PACK_SUFFIX)
        if not name.endswith(PACK_SUFFIX) or (wanted and task_id not in wanted) or (folder / name).is_file():
            continue
        if not is_registered(task_id):
            logger.info(f"passed over: {file.path}: no task has this name")
            continue
        local, _ = verify_file(manifest, file.path)
        try:
            check_pack(read_pack(local).info, load_task(task_id), f"{pinned}: {file.path}")
        except MRBError:
            remove_cached_file(local)
            raise
        copy_list(local, folder, name)
    return folder
