"""Say what was read of data of the user, because a misspelled column or an image without an item is no error."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from mrb.data.folder_tables import ROLES, FolderTables, Role
from mrb.data.tables import CORPUS_ID_COLUMNS, QUERY_ID_COLUMNS, TEXT_COLUMNS, is_image_column
from mrb.data.task import Task
from mrb.errors import to_one_line

logger = logging.getLogger(__name__)

NOUNS = {"queries": "queries", "corpus": "documents"}
MOST_SHOWN = 10
_logged: set[tuple[Path, str, str]] = set()
"""(folder, task, content) of what this process has logged."""


def log_reading(folder: Path, task: Task, tables: FolderTables, id_stated: bool) -> None:
    """Log one line of what was read of a data folder, and the warnings (`log_gaps`), once in this process.

    Args:
        folder: The data folder.
        task: Its task.
        tables: Its tables.
        id_stated: Whether the user states the id. Otherwise it is made of the folder's name, and the line says so.
    """
    key = (folder.resolve(), task.id, tables.content)
    if key in _logged:
        return
    _logged.add(key)
    name = key[0].name
    origin = "" if id_stated or name == task.id else f" (the folder {to_one_line(name, 80)!r})"
    judged = task.size.queries
    queries = describe_count(tables.queries, "queries")
    if judged < len(tables.queries):
        queries += f", {judged:,} of them with a relevant document"
    unread = describe_unread(tables)
    logger.info(
        f"{task.id}{origin}: {task.type}, {queries}, {describe_count(tables.corpus, 'documents')}"
        + (f"; columns not read: {unread}" if unread else "")
    )
    log_gaps(folder, tables)


def log_hub_reading(repository: str, task: Task, tables: Mapping[Role, pa.Table]) -> None:
    """Log one line of what was read of a Hub data set, whose name became the task's id."""
    known = {*QUERY_ID_COLUMNS, *CORPUS_ID_COLUMNS, "title", *TEXT_COLUMNS}
    names = dict.fromkeys(to_one_line(name, 60) for role in ROLES for name in tables[role].column_names)
    unread = _shorten([name for name in names if name not in known and not is_image_column(name)])
    logger.info(
        f"{task.id} (the data set {repository}): {task.type}, {len(tables['queries']):,} queries, "
        f"{len(tables['corpus']):,} documents" + (f"; columns not read: {unread}" if unread else "")
    )


def log_gaps(folder: Path, tables: FolderTables) -> None:
    """Warn of items without text and image, and of image files that belong to no item."""
    for line in _list_gaps(folder, tables):
        logger.warning(line)


def _list_gaps(folder: Path, tables: FolderTables) -> Iterator[str]:
    for role in ROLES:
        notes, rows = tables.notes[role], len(getattr(tables, role))
        if notes.empty:
            have = "has" if notes.empty == 1 else "have"
            count = f"{notes.empty:,} of {rows:,} {NOUNS[role]}"
            yield f"{notes.first_empty}: no text and no image; {count} {have} none"
        if notes.left_out:
            count = "1 image file is" if notes.left_out == 1 else f"{notes.left_out:,} image files are"
            yield f"{folder / notes.first_left_out}: belongs to no item; {count} left out"


def describe_count(table: pa.Table, noun: str = "") -> str:
    """Return the number of items of a table with their noun, and of those with images where there are some."""
    images = len(table) - table.column("image").null_count
    share = "" if not images else " (all with images)" if images == len(table) else f" ({images:,} with images)"
    return f"{len(table):,} {noun}".rstrip() + share


def describe_empty(tables: FolderTables, role: Role) -> str:
    """Return the end of an error about items of which none has a text or an image: the first, and what it may have."""
    notes = tables.notes[role]
    if not notes.empty:
        return ""
    unread = _shorten(notes.unread)
    found = f"; columns not read: {unread}" if unread else ""
    return f"; the first is {notes.first_empty}{found}; wanted: text, title or image"


def describe_unread(tables: FolderTables) -> str:
    """Return the names of the columns that are not read, the first MOST_SHOWN of them; empty if there are none."""
    return _shorten(list(dict.fromkeys(name for role in ROLES for name in tables.notes[role].unread)))


def _shorten(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_SHOWN])
    return shown if len(names) <= MOST_SHOWN else f"{shown} and others"
