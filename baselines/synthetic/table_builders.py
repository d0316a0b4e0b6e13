"""Shared by generators of training data: rows that become tables, and a task split into parts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from mrb.data.task import Task
from mrb.data.task_data import ItemTable


def split_task(task: Task, names: Iterable[str]) -> Task:
    """Return the task with parts of these names.

    A part holds the ids that begin with its name and a slash, and is searched separately.
    """
    (part,) = task.source.parts
    parts = tuple(part.model_copy(update={"name": name}) for name in names)
    return task.model_copy(update={"source": task.source.model_copy(update={"parts": parts})})


class Rows:
    """Rows (text, encoded image or None) by id, in order."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, tuple[str, bytes | None]] = OrderedDict()

    def add(self, item_id: str, row: tuple[str, bytes | None]) -> None:
        """Append a row."""
        self._rows[item_id] = row

    def table(self, name: str) -> ItemTable:
        """Return the rows as a table of items."""
        texts, images = zip(*self._rows.values(), strict=True)
        places = {item_id: row for row, item_id in enumerate(self._rows)}
        return ItemTable(name, places, _column(texts, pa.string()), _column(images, pa.binary()))


def _column(values: Any, kind: Any) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])
