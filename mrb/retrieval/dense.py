"""Dense first stages: vectors are encoded once, shard by shard, stored on disk and searched exactly."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mrb.data.task_data import TaskData
from mrb.errors import AdapterError
from mrb.retrieval.cache_paths import work_root
from mrb.retrieval.encoding import Maker
from mrb.retrieval.failures import Failures, with_lost
from mrb.retrieval.retriever import Float32, Found
from mrb.retrieval.shards import Shards, shards_of
from mrb.retrieval.vectors import Nearest


class Dense:
    """A retriever from an encoder: exact search by inner product over stored vectors.

    Args:
        maker: Encodes and writes the vectors.
        folder: The folder of the vectors; in MRB's cache if None.
        failures: Counts and limits failed items; none may fail if None.
    """

    def __init__(self, maker: Maker, folder: Path | None = None, failures: Failures | None = None) -> None:
        self.maker = maker
        self.failures = failures or Failures()
        maker.allowed = self.failures.allowed
        self.folder = folder or work_root()
        self.used: list[Path] = []
        self.fresh = False

    @property
    def identity(self) -> dict[str, Any]:
        """Everything the encoder states that decides its vectors: name, options, source, version, revision, dtype."""
        return self.maker.identity

    def covers(self, data: TaskData) -> bool:
        """Return whether the encoder takes part in a fusion for this task."""
        return not self.maker.needs_images or data.queries.has_images or data.corpus.has_images

    def search(self, data: TaskData, depth: int) -> Iterator[Found]:
        """Return the documents with the largest inner product. One shard of documents is in memory at a time.

        A document that could not be encoded is in no list; such a query has an empty list. `failures` names both.
        """
        tables = shards_of(data, self.folder, self.maker.shard_rows, self.identity)
        self.used += [shards.folder for shards in tables]
        for shards in tables if self.fresh else ():
            shutil.rmtree(shards.folder, ignore_errors=True)
        self.maker.prepare(data, tables)
        parts = list(self._vectors(tables[0]))
        query_ids = [query_id for ids, _ in parts for query_id in ids]
        queries = np.concatenate([rows for _, rows in parts]) if parts else np.empty((0, 0), np.float32)
        found = Nearest(data.task.id, query_ids, queries, depth)
        for doc_ids, rows in self._vectors(tables[1]):
            if parts and rows.shape[1] != queries.shape[1]:
                raise AdapterError(f"{self.maker.name}: queries are {queries.shape[1]} wide, documents {rows.shape[1]}")
            found.add(doc_ids, rows)
        return with_lost(tables[0].ids, set(tables[0].ids) - set(query_ids), found.results())

    def discard(self) -> None:
        """Remove the vectors that searches of this object have written or used."""
        for folder in self.used:
            shutil.rmtree(folder, ignore_errors=True)
        self.used.clear()

    def close(self) -> None:
        """Close the encoder."""
        self.maker.close()

    def _vectors(self, shards: Shards) -> Iterator[tuple[list[str], Float32]]:
        """Yield (ids, vectors) by shard, without failed items; a missing shard is encoded and written first."""
        with tqdm(total=len(shards.ids), desc=shards.kind, unit="item", disable=None, leave=False) as bar:
            for number in range(len(shards)):
                part = shards.part(number)
                if not shards.path(number).exists():
                    self.maker.make(shards, number, bar.update)
                rows = shards.read(number)
                good = np.isfinite(rows).all(axis=1)
                if not good.all():
                    self._note_failed(shards, [part[row] for row in np.flatnonzero(~good)])
                if good.any():  # the width of a shard without a valid vector is unknown
                    yield [part[row] for row in np.flatnonzero(good)], rows[good]
                bar.update(number * shards.rows + len(part) - bar.n)
        shards.complete()

    def _note_failed(self, shards: Shards, ids: list[str]) -> None:
        for item_id in ids:
            error = AdapterError(
                f"{shards.folder}: {shards.kind}: {item_id!r} could not be encoded; --fresh tries again"
            )
            self.failures.add(shards.kind, item_id, error)
