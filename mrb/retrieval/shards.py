"""The vectors of a table on disk: shards that are each there whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mrb._util.files import write_array, write_json
from mrb._util.hashing import sha256_json
from mrb.data.task_data import ItemTable, TaskData
from mrb.errors import MRBError
from mrb.retrieval.cache_paths import table_key
from mrb.retrieval.retriever import Float32

SHARD_ROWS = 4096
"""Rows of a shard, the unit that a killed command repeats, where an encoder does not say. Batches never cross shards,
so that what an encoder sees does not depend on where an earlier process was stopped, or on who made which shard."""

Kind = Literal["queries", "documents"]


@dataclass(frozen=True)
class Shards:
    """The vectors of `table`, `rows` a shard, in a folder below `root` that is named after `about` and `rows`.

    `about` says what the vectors depend on: the encoder, its options and weights, the table's content, and for queries
    the instruction. The table is complete when `manifest.json` is there.
    """

    root: Path
    table: ItemTable
    kind: Kind
    instruction: str
    rows: int
    about: Mapping[str, Any] = field(repr=False)

    @cached_property
    def folder(self) -> Path:
        """Where the shards lie."""
        return self.root / f"vectors-{sha256_json([self.about, self.rows])[:32]}"

    @cached_property
    def ids(self) -> list[str]:
        """The table's ids in order."""
        return list(self.table)

    def __len__(self) -> int:
        return -(-len(self.ids) // self.rows)

    def part(self, number: int) -> list[str]:
        """The ids of a shard."""
        return self.ids[number * self.rows : (number + 1) * self.rows]

    def missing(self) -> list[int]:
        """The shards that are not on disk."""
        return [number for number in range(len(self)) if not self.path(number).exists()]

    def path(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / f"{number:06d}.npy"

    def write(self, number: int, vectors: Float32) -> None:
        """Put a shard on disk, whole or not at all."""
        write_array(self.path(number), vectors)

    def read(self, number: int) -> Float32:
        """A shard, (rows, width). MRBError if it is damaged."""
        path, wanted = self.path(number), len(self.part(number))
        try:
            values: Float32 = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise MRBError(f"{path}: damaged vectors: {error}; remove the file") from error
        if values.ndim != 2 or len(values) != wanted:
            raise MRBError(f"{path}: holds an array of shape {values.shape}, wanted {wanted} rows; remove the file")
        return values

    def complete(self) -> None:
        """Write down what the vectors are, once all shards are there."""
        path = self.folder / "manifest.json"
        if not path.exists():
            write_json(path, {"schema_version": 1, **self.about, "shards": len(self)})


def shards_of(data: TaskData, root: Path, rows: int, identity: Mapping[str, Any]) -> tuple[Shards, Shards]:
    """The vectors of the queries and those of the documents, by an encoder of this identity."""
    task = data.task

    def shards(table: ItemTable, kind: Kind, name: str, instruction: str) -> Shards:
        about = {**identity, "kind": name, "table": table_key(data, table), "rows": len(table)}
        return Shards(root, table, kind, instruction, rows, about)

    # The instruction is part of a query's vector and, by the task's hash, of its name.
    queries = shards(data.queries, "queries", f"queries-{task.hash[:16]}", task.instruction)
    return queries, shards(data.corpus, "documents", "documents", "")


def missing(tables: Sequence[Shards]) -> list[tuple[str, int]]:
    """(folder's name, shard) of all that is not on disk."""
    return [(shards.folder.name, number) for shards in tables for number in shards.missing()]
