"""Cache paths of indexes and embeddings, which are costly to build again."""

from __future__ import annotations

from pathlib import Path

from mrb._util.hashing import hash_json, hash_lines
from mrb.data.task_data import ItemTable, TaskData
from mrb.hub.manifest import find_cache_root


def find_first_stage_cache() -> Path:
    """Return the folder `first-stages` of MRB's cache."""
    return find_cache_root() / "first-stages"


def compute_table_key(data: TaskData, table: ItemTable) -> str:
    """Return the cache key of a table's rows: 64 hex digits over the data's revision and all ids in order.

    The revision pins the content; the ids distinguish the tables and parts of one revision.
    """
    ids = hash_lines(item_id.encode() for item_id in table)
    return hash_json([data.task.revision, ids])
