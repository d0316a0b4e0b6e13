"""Where first stages keep what is costly to make again: indexes and embeddings."""

from __future__ import annotations

import os
from pathlib import Path

from mrb.hashing import sha256_json, sha256_lines
from mrb.loading.data import ItemTable, TaskData


def work_root() -> Path:
    """The folder `first-stages` in `MRB_CACHE`, else in `mrb` of the user's cache folder."""
    if given := os.environ.get("MRB_CACHE"):
        return Path(given) / "first-stages"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mrb" / "first-stages"


def table_key(data: TaskData, table: ItemTable) -> str:
    """What a table's rows are known by, 64 hex digits: the data's revision and every id in order.

    The revision pins the content; the ids tell apart the tables and the parts of one revision.
    """
    ids = sha256_lines(item_id.encode() for item_id in table)
    return sha256_json([data.task.revision, ids])
