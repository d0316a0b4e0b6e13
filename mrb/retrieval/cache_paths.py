"""Where first stages keep what is costly to make again: indexes and embeddings."""

from __future__ import annotations

from pathlib import Path

from mrb._util.hashing import sha256_json, sha256_lines
from mrb.data.task_data import ItemTable, TaskData
from mrb.hub.manifest import cache_root


def work_root() -> Path:
    """The folder `first-stages` of MRB's cache."""
    return cache_root() / "first-stages"


def table_key(data: TaskData, table: ItemTable) -> str:
    """What a table's rows are known by, 64 hex digits: the data's revision and every id in order.

    The revision pins the content; the ids tell apart the tables and the parts of one revision.
    """
    ids = sha256_lines(item_id.encode() for item_id in table)
    return sha256_json([data.task.revision, ids])
