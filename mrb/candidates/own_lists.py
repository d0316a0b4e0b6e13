"""The candidate list of a task of the user's own: found in its data folder, or made by a first stage into MRB's cache.

A list of another format (a TREC run, mteb's `top_ranked` table) becomes an MRB list in the cache,
`<cache>/own-lists/files/<hash>/<task>.parquet`, once for each content. Worker processes make the same list. Lists that
a first stage made are in `<cache>/own-lists/made/`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mrb._util.hashing import hash_file, hash_json
from mrb.candidates.lists import METADATA_KEY, read_parquet, write_parquet
from mrb.data.folder_files import find_folder_files
from mrb.data.folder_task import read_folder_definition
from mrb.data.load import load_task_data
from mrb.data.own_tasks import require_task_folder
from mrb.data.task import Task
from mrb.errors import CandidatesError, MRBError
from mrb.hub.client import fetch_files, open_manifest
from mrb.hub.manifest import find_cache_root

logger = logging.getLogger(__name__)

OWN_SET = "own"
"""The candidate set that lists of own tasks name."""
MAX_DEPTH = 1000
"""Most documents per query of a list that is made of a folder's file."""


def find_own_list(task: Task, sha256: str | None = None) -> Path | None:
    """Return an own task's list as an MRB list: that of its data folder, else one that a first stage made before.

    Args:
        task: The task.
        sha256: The hash that the list must have; a list that a first stage made before is found by it only.

    Returns:
        The file, None if there is none.

    Raises:
        CandidatesError: The folder's list does not fit the data.
        ResultError: The folder's list cannot be read.
    """
    source = find_list_source(task)
    found = None if source is None else _convert(task, source)
    if sha256 is None or (found is not None and _has_hash(found, sha256)):
        return found
    made = (_locate_cache() / "made").glob(f"*/{task.id}.parquet")
    return next((path for path in sorted(made) if _has_hash(path, sha256)), found)


def find_list_source(task: Task) -> Path | None:
    """Return the file of the candidates in the task's data folder or Hub repository, None without one. DataError if the
    folder is not known here."""
    if task.source.kind != "folder":
        return _find_hub_list(task)
    folder = require_task_folder(task)
    definition = read_folder_definition(folder)
    return find_folder_files(folder, definition.split, definition.candidates).candidates


def _find_hub_list(task: Task) -> Path | None:
    """Return mteb's `top_ranked` table of a task's repository, fetched; None without one, or for several parts."""
    if len(task.source.parts) > 1:
        return None
    part = task.source.parts[0]
    manifest = open_manifest(part.repository, part.revision or "")
    splits = manifest.tables.get("top_ranked", {})
    files = splits.get(part.qrels.split) or next(iter(splits.values()), [])
    if len(files) != 1:
        return None
    _, [path] = fetch_files(manifest, files)
    return path


def locate_made_lists(tasks: Sequence[Task], first_stage: str, depth: int) -> Path:
    """Return the folder in MRB's cache for the lists that a first stage makes for own tasks."""
    name = re.sub(r"[^A-Za-z0-9._+-]", "-", first_stage)[:40]
    key = hash_json([first_stage, *map(_hash_basis, tasks)])
    return _locate_cache() / "made" / f"{name}-{depth}-{key[:12]}"


def _hash_basis(task: Task) -> str:
    """Return the hash over what decides a list that is made of the task: all rules count, because they decide which
    queries are judged, and only those have a list."""
    return hash_json([task.list_hash, task.rules.model_dump(mode="json")])


def _locate_cache() -> Path:
    return find_cache_root() / "own-lists"


def _has_hash(path: Path, sha256: str) -> bool:
    try:
        return read_parquet(path).sha256 == sha256
    except MRBError:
        return False


def _convert(task: Task, source: Path) -> Path:
    """Return `source` if it is an MRB list, else the list that is made of its scores."""
    if source.suffix == ".parquet" and _is_mrb_list(source):
        return source
    from mrb.candidates.score_files import import_candidates  # it needs the modules that need this one
    from mrb.candidates.task_scores import read_task_scores

    key = hash_json([_hash_basis(task), hash_file(source)])
    path = _locate_cache() / "files" / key[:24] / f"{task.id}.parquet"
    if path.is_file():
        return path
    scores = read_task_scores(source, task)
    data = load_task_data(task)
    own = task.rules.drop_identical_ids  # a query that is in the corpus leaves its own list
    longest = max(len(scores.get(query) or ()) - (own and query in scores.get(query, ())) for query in data.queries)
    if not longest:
        raise CandidatesError(f"{source}: none of its {len(scores)} queries is a judged query of {task.id}")
    made = import_candidates(
        data,
        scores,
        first_stage=_name_first_stage(source),
        depth=min(MAX_DEPTH, longest),
        candidate_set=OWN_SET,
        allow_missing=True,
        skip_unknown=True,
        source=source,
    )
    if made.missing:
        logger.warning(f"{task.id}: {made.missing} judged queries are not in {source.name}: they score 0")
    if made.skipped:
        logger.info(f"{task.id}: {made.skipped} queries of {source.name} are not judged and left out")
    write_parquet(made.candidates, path)
    return path


def _name_first_stage(source: Path) -> str:
    """Return the name of what made the list: the tag of a TREC run, else the file's name."""
    from mrb.candidates.score_files import FIRST_STAGE, read_tag

    for name in (read_tag(source), source.stem):
        if name and FIRST_STAGE.fullmatch(name):
            return name
    return "imported"


def _is_mrb_list(path: Path) -> bool:
    try:
        return METADATA_KEY in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError) as error:
        raise CandidatesError(f"{path}: damaged parquet: {error}") from error
