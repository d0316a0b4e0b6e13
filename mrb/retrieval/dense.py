"""Dense first stages: vectors made once, shard by shard, kept on disk, and searched exactly."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mrb.adapters import Adapter
from mrb.errors import AdapterError, MRBError
from mrb.files import atomic_writer, write_json
from mrb.hashing import sha256_json
from mrb.items import Item
from mrb.loading.data import ItemTable, TaskData
from mrb.retrieval.retriever import Float32, Found
from mrb.retrieval.vectors import Nearest
from mrb.retrieval.work import table_key, work_root

SHARD_ROWS = 4096
"""Rows of a shard, the unit that a killed command repeats. Batches never cross shards, so that what an encoder sees
does not depend on where an earlier process was stopped."""
BATCH = 32


class Dense:
    """An encoder as a retriever: exact search by inner product over vectors in `folder` (default: in MRB's cache).

    The vectors of a table lie in a folder that is named after the encoder, its options, version and source and the
    table's content. A shard is there whole or not at all; the table is complete when its `manifest.json` is written.
    """

    def __init__(self, adapter: Adapter, folder: Path | None = None) -> None:
        self.adapter = adapter
        self.folder = folder or work_root()
        self.used: list[Path] = []

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the vectors, as far as the encoder says."""
        target = self.adapter.target
        return {
            "retriever": self.adapter.name,
            "options": {key: str(value) for key, value in self.adapter.options.items()},
            "source_sha256": self.adapter.source_sha256,
            **{name: _stated(target, name) for name in ("version", "revision", "dtype")},
        }

    @property
    def batch_size(self) -> int:
        """Items that the encoder is given at a time."""
        return int(getattr(self.adapter.target, "batch_size", BATCH))

    def search(self, data: TaskData, depth: int) -> Iterator[Found]:
        """The documents with the greatest inner product; one shard of documents is in memory at a time."""
        target, task = self.adapter.target, data.task

        def encode_queries(items: Sequence[Item]) -> Any:
            return target.encode_queries(items, task.instruction)

        # The instruction is part of a query's vector and, by the task's hash, of its name.
        shards = self._shards(data, data.queries, f"queries-{task.hash[:16]}", encode_queries)
        queries = np.concatenate([rows for _, rows in shards])
        query_ids = list(data.queries)
        found = Nearest(task.id, query_ids, queries, depth)
        for doc_ids, rows in self._shards(data, data.corpus, "documents", target.encode_documents):
            if rows.shape[1] != queries.shape[1]:
                raise AdapterError(
                    f"{self.adapter.name}: queries are {queries.shape[1]} wide, documents {rows.shape[1]}"
                )
            found.add(doc_ids, rows)
        return found.results()

    def discard(self) -> None:
        """Remove the vectors that searches of this object have made or used."""
        for folder in self.used:
            shutil.rmtree(folder, ignore_errors=True)
        self.used.clear()

    def _shards(
        self, data: TaskData, table: ItemTable, kind: str, encode: Callable[[Sequence[Item]], Any]
    ) -> Iterator[tuple[list[str], Float32]]:
        """(ids, vectors) of the table, shard by shard; what is not on disk is encoded and written first."""
        about = {**self.identity, "kind": kind, "table": table_key(data, table), "rows": len(table)}
        folder = self.folder / f"vectors-{sha256_json([about, SHARD_ROWS])[:32]}"
        self.used.append(folder)
        ids = list(table)
        shards = range(0, len(ids), SHARD_ROWS)
        with tqdm(total=len(ids), desc=kind.split("-")[0], unit="item", disable=None, leave=False) as bar:
            for number, first in enumerate(shards):
                part = ids[first : first + SHARD_ROWS]
                path = folder / f"{number:06d}.npy"
                if not path.exists():
                    _write(path, self._encoded(table, part, encode, bar))
                yield part, _read(path, len(part))
                bar.update(first + len(part) - bar.n)
        if not (folder / "manifest.json").exists():
            write_json(folder / "manifest.json", {"schema_version": 1, **about, "shards": len(shards)})

    def _encoded(
        self, table: ItemTable, ids: Sequence[str], encode: Callable[[Sequence[Item]], Any], bar: tqdm[Any]
    ) -> Float32:
        size = self.batch_size
        parts = []
        for first in range(0, len(ids), size):
            batch = ids[first : first + size]
            rows = np.asarray(encode([table.item(item_id) for item_id in batch]), np.float32)
            if rows.ndim != 2 or len(rows) != len(batch):
                raise AdapterError(f"{self.adapter.name}: {len(batch)} items gave vectors of shape {rows.shape}")
            if not np.isfinite(rows).all():
                bad = batch[int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])]
                raise AdapterError(f"{self.adapter.name}: the vector of {bad!r} ({table.name}) is not finite")
            parts.append(rows)
            bar.update(len(batch))
        if len({rows.shape[1] for rows in parts}) > 1:
            raise AdapterError(f"{self.adapter.name}: vectors of one table differ in width")
        return np.concatenate(parts)


def describe(retriever: object) -> Mapping[str, Any]:
    """What a list's manifest says of the retriever that made it."""
    return retriever.identity if isinstance(retriever, Dense) else {}


def _stated(target: object, name: str) -> str | None:
    value = getattr(target, name, None)
    return None if value is None else str(value)


def _write(path: Path, rows: Float32) -> None:
    with atomic_writer(path) as file:
        np.save(file, rows)


def _read(path: Path, rows: int) -> Float32:
    try:
        values: Float32 = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise MRBError(f"{path}: damaged vectors: {error}; remove the file") from error
    if values.ndim != 2 or len(values) != rows:
        raise MRBError(f"{path}: holds an array of shape {values.shape}, wanted {rows} rows; remove the file")
    return values
