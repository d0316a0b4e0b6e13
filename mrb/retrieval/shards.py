"""Store the vectors of a table on disk in shards, each of which is written atomically."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mrb._util.files import write_array, write_json
from mrb._util.format import format_size
from mrb._util.hashing import hash_json
from mrb._util.progress import Progress, start_progress
from mrb.data.task_data import ItemTable, TaskData
from mrb.errors import MRBError
from mrb.retrieval.cache_paths import compute_table_key
from mrb.retrieval.retriever import Float32

SHARD_ROWS = 4096
"""Default number of rows per shard, the unit that a killed command repeats. Batches never cross shards, so an
encoder's batches do not depend on where an earlier process stopped or on which process wrote which shard."""

Kind = Literal["queries", "documents"]


@dataclass(frozen=True)
class Shards:
    """The vectors of a table of `data`, `rows` per shard, in a folder below `root`.

    The folder's name is a hash of `about` and `rows`. `about` states what the vectors depend on: the encoder, its
    options and weights, the table's content, the limits of its images, and for queries the instruction. `manifest.json`
    exists once all shards are written.
    """

    root: Path
    data: TaskData = field(repr=False)
    kind: Kind
    rows: int
    about: Mapping[str, Any] = field(repr=False)

    @cached_property
    def folder(self) -> Path:
        """The folder of the shards."""
        return self.root / f"vectors-{hash_json([self.about, self.rows])[:32]}"

    @cached_property
    def ids(self) -> list[str]:
        """The table's ids in order."""
        return list(select_table(self.data, self.kind))

    def __len__(self) -> int:
        return -(-len(self.ids) // self.rows)

    def part(self, number: int) -> list[str]:
        """Return the ids of a shard."""
        return self.ids[number * self.rows : (number + 1) * self.rows]

    def path(self, number: int) -> Path:
        """Return the file of a shard."""
        return self.folder / f"{number:06d}.npy"

    def write(self, number: int, vectors: Float32) -> None:
        """Write a shard atomically."""
        write_array(self.path(number), vectors)

    def read(self, number: int) -> Float32:
        """Map a shard of shape (rows, width) into memory. Raises MRBError if it is damaged."""
        path, wanted = self.path(number), len(self.part(number))
        try:
            values: Float32 = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise MRBError(f"{path}: damaged vectors: {error}; remove the file") from error
        if values.ndim != 2 or len(values) != wanted:
            raise MRBError(f"{path}: holds an array of shape {values.shape}, wanted {wanted} rows; remove the file")
        return values

    def complete(self) -> None:
        """Write the manifest, once all shards are written."""
        path = self.folder / "manifest.json"
        if not path.exists():
            write_json(path, {"schema_version": 1, **self.about, "shards": len(self)})


def make_shards(data: TaskData, root: Path, rows: int, identity: Mapping[str, Any]) -> tuple[Shards, Shards]:
    """Return the shards of the queries and of the documents for an encoder with this identity."""

    def make(kind: Kind, name: str) -> Shards:
        table = select_table(data, kind)
        key, limits = compute_table_key(data, table), asdict(table.caps)
        about = {**identity, "kind": name, "table": key, "images": limits, "rows": len(table)}
        return Shards(root, data, kind, rows, about)

    # A query's vector depends on the instruction. The list hash covers it, so it is part of the kind's name.
    return make("queries", f"queries-{data.task.list_hash[:16]}"), make("documents", "documents")


def check_disk(tables: Sequence[Shards], width: int, max_disk: int | None = None) -> None:
    """Raise MRBError if the vectors of `tables` exceed `max_disk` bytes, or those not yet written the free disk."""
    wanted = 4 * width * sum(len(shards.ids) for shards in tables)
    where = f"task {tables[0].data.task.id}: its embeddings take {format_size(wanted / 1e9)}"
    if max_disk is not None and wanted > max_disk:
        raise MRBError(f"{where}, and --max-disk allows {format_size(max_disk / 1e9)}; give more")
    folder = tables[0].root
    stored = sum(shards.path(number).stat().st_size for shards, number in list_shards(tables)[0])
    free = shutil.disk_usage(folder).free
    if wanted - stored > free:
        raise MRBError(
            f"{where}, {format_size(stored / 1e9)} are written and {folder} has {format_size(free / 1e9)} left; "
            "free some, or give --work a folder on another disk"
        )


def list_shards(tables: Sequence[Shards]) -> tuple[list[tuple[Shards, int]], list[tuple[Shards, int]]]:
    """Return (table, number) of each shard that is on disk, and of each that is not."""
    found: dict[bool, list[tuple[Shards, int]]] = {True: [], False: []}
    for shards in tables:
        for number in range(len(shards)):
            found[shards.path(number).exists()].append((shards, number))
    return found[True], found[False]


def show_progress(missing: Iterable[tuple[Shards, int]]) -> Progress:
    """Return the progress of encoding the items of these shards."""
    total = sum(len(shards.part(number)) for shards, number in missing)
    return start_progress("encoding", "items", total)


def select_table(data: TaskData, kind: Kind) -> ItemTable:
    """Return the table of queries or of documents."""
    return data.queries if kind == "queries" else data.corpus
