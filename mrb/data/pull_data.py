"""Download the data of whole tasks, and report and verify what is on disk."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mrb._util.format import PLAIN, Screen, format_table
from mrb.data.corpus_subset import NOTHING
from mrb.data.hub_parts import find_part_files
from mrb.data.load import load_task_data
from mrb.data.own_tasks import find_task_folder
from mrb.data.stats import Counts, check_counts
from mrb.data.task import Task
from mrb.data.task_fields import Part
from mrb.errors import DataError
from mrb.hub.client import (
    check_space,
    fetch_files,
    find_local_file,
    has_listed_digest,
    open_manifest,
    remove_cached_file,
)
from mrb.hub.manifest import Manifest, read_manifest

logger = logging.getLogger(__name__)

NOT_REMOTE = {"embedded": "part of the package", "folder": "your own folder"}
"""Where the data of tasks lies that are not on the Hub, by kind of source."""


@dataclass(frozen=True)
class PulledTask:
    """A task with all its files on disk.

    `size` is in bytes. `counts` are those of loading. `columns` are (role, column names) of the tables of the first
    part.
    """

    task: Task
    files: int
    size: int
    counts: Counts
    columns: tuple[tuple[str, tuple[str, ...]], ...]


def pull_task(task: Task) -> PulledTask | None:
    """Download all files of a task's tables and load them once. Return None for embedded data.

    The sizes are logged before the download begins. After a failure, another call downloads only what is missing.
    """
    if task.source.kind != "hub":
        return None
    parts = [(open_manifest(part.repository, part.revision or ""), part) for part in task.source.parts]
    wanted = [(manifest, _list_paths(task, part, manifest)) for manifest, part in parts]
    total = sum(manifest.file(path).size for manifest, paths in wanted for path in paths)
    missing = sum(_count_missing(manifest, paths) for manifest, paths in wanted)
    logger.info(
        f"{task.id}: {total / 1e6:,.1f} MB in {sum(len(p) for _, p in wanted)} files, {missing / 1e6:,.1f} MB to fetch"
    )
    for manifest, paths in wanted:
        check_space(manifest, paths)
    for manifest, paths in wanted:
        fetch_files(manifest, paths)
    counts = load_task_data(task, needed=NOTHING).counts
    check_counts(task, counts)
    return PulledTask(task, sum(len(p) for _, p in wanted), total, counts, _read_columns(task))


def format_pulled(pulled: Sequence[PulledTask], screen: Screen = PLAIN) -> str:
    """Format a text table with one row per task: rows read, rows dropped by the rules, and columns."""
    rows: list[tuple[str, ...]] = [
        (
            "task",
            "MB",
            "queries",
            "documents",
            "qrels",
            "outside corpus",
            "no query",
            "not positive",
            "repeated",
            "columns",
        )
    ]
    for one in pulled:
        counts = one.counts
        numbers = (counts.queries, counts.documents, counts.qrels, counts.qrels_outside_corpus)
        dropped = (counts.qrels_outside_queries, counts.qrels_not_positive, counts.repeated)
        columns = "; ".join(f"{role}: {' '.join(names)}" for role, names in one.columns)
        rows.append(
            (one.task.id, f"{one.size / 1e6:,.1f}", *(f"{number:,}" for number in (*numbers, *dropped)), columns)
        )
    return "\n".join(format_table(rows, left={0, len(rows[0]) - 1}, drop=_LEAST_NEEDED, screen=screen))


_LEAST_NEEDED = ("repeated", "not positive", "no query", "outside corpus")


def is_local(task: Task) -> bool:
    """Return whether all files of the task's tables are on disk, which is always true for embedded data.

    The data of an own task is here if its folder is known to this process. Makes no request.
    """
    if task.source.kind == "folder":
        return find_task_folder(task) is not None
    if task.source.kind != "hub":
        return True
    manifests = [(read_manifest(part.repository, part.revision or ""), part) for part in task.source.parts]
    return all(
        manifest is not None and all(find_local_file(manifest, path) for path in _list_paths(task, part, manifest))
        for manifest, part in manifests
    )


def format_info(tasks: Sequence[Task], screen: Screen = PLAIN) -> str:
    """Format a text table with one row per task: local files and MB, totals, and documents. Makes no request."""
    rows: list[tuple[str, ...]] = [("task", "files here", "of", "MB here", "of", "documents", "state")]
    for task in tasks:
        rows.append(_format_state(task))
    return "\n".join(format_table(rows, left={0, 6}, screen=screen))


def verify_task(task: Task) -> Iterator[str]:
    """Hash all local files of the task and load its tables again. Yield a line for each repository.

    Raises DataError, which names the first wrong file. That file is removed, so the next pull downloads it again.
    """
    if task.source.kind != "hub":
        yield f"{task.id}: {NOT_REMOTE[task.source.kind]}"
        return
    complete = True
    for part in task.source.parts:
        manifest = read_manifest(part.repository, part.revision or "")
        paths = [] if manifest is None else _list_paths(task, part, manifest)
        here = 0
        for path in paths:
            assert manifest is not None
            local = find_local_file(manifest, path)
            if local is None:
                continue
            if not has_listed_digest(manifest.file(path), local):
                remove_cached_file(local)
                raise DataError(
                    f"task {task.id}, {part.repository}: {path} is not what the Hub lists any more; it was removed, "
                    f"`mrb data pull --task {task.id}` fetches it again"
                )
            here += 1
        complete = complete and bool(paths) and here == len(paths)
        yield f"{task.id}: {part.repository}: {here} of {len(paths)} files here, their checksums are right"
    if complete:
        counts = load_task_data(task, needed=NOTHING).counts
        yield f"{task.id}: {counts.queries:,} queries, {counts.documents:,} documents: rows as at the first load"


def _list_paths(task: Task, part: Part, manifest: Manifest) -> list[str]:
    return [path for _, paths in find_part_files(task, part, manifest).values() for path in paths]


def _count_missing(manifest: Manifest, paths: Sequence[str]) -> int:
    return sum(manifest.file(path).size for path in paths if find_local_file(manifest, path) is None)


def _read_columns(task: Task) -> tuple[tuple[str, tuple[str, ...]], ...]:
    part = task.source.parts[0]
    manifest = open_manifest(part.repository, part.revision or "")
    tables = find_part_files(task, part, manifest)
    return tuple((role, manifest.read[name].columns) for role, (name, _) in tables.items())


def _format_state(task: Task) -> tuple[str, ...]:
    if task.source.kind != "hub":
        return (task.id, "-", "-", "-", "-", f"{task.size.documents:,}", NOT_REMOTE[task.source.kind])
    manifests = [read_manifest(part.repository, part.revision or "") for part in task.source.parts]
    known = [
        (m, _list_paths(task, part, m)) for m, part in zip(manifests, task.source.parts, strict=True) if m is not None
    ]
    files, size = sum(len(paths) for _, paths in known), sum(m.file(p).size for m, paths in known for p in paths)
    gone = [p for m, paths in known for p in paths if find_local_file(m, p) is None]
    missing = sum(_count_missing(m, paths) for m, paths in known)
    if len(known) < len(manifests):
        size_known = "?" if task.size.gigabytes is None else f"{1000 * task.size.gigabytes:,.1f}"
        state = "never fetched" if not known else "partly listed"
        return (task.id, str(files - len(gone)), "?", f"{(size - missing) / 1e6:,.1f}", size_known, "?", state)
    read = [
        m.read[find_part_files(task, p, m)["corpus"][0]]
        for (m, _), p in zip(known, task.source.parts, strict=True)
        if find_part_files(task, p, m)["corpus"][0] in m.read
    ]
    rows = f"{sum(table.rows for table in read):,}" if len(read) == len(known) else "?"
    state = "complete" if not gone else "incomplete"
    here = f"{(size - missing) / 1e6:,.1f}"
    return (task.id, str(files - len(gone)), str(files), here, f"{size / 1e6:,.1f}", rows, state)
