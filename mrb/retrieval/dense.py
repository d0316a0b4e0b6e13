"""Dense first stages: vectors are encoded once, shard by shard, stored on disk and searched exactly."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mrb._util.progress import start_progress
from mrb.candidates.self_matches import RankedList
from mrb.data.task_data import TaskData
from mrb.errors import AdapterError
from mrb.retrieval.cache_paths import find_first_stage_cache
from mrb.retrieval.encoding import EmbeddingWriter
from mrb.retrieval.exact_search import ExactSearch
from mrb.retrieval.failures import Failures, add_empty_lists
from mrb.retrieval.retriever import Float32
from mrb.retrieval.shards import Shards, make_shards


class Dense:
    """A retriever from an encoder: exact search by inner product over stored vectors.

    Args:
        writer: Encodes and writes the vectors.
        folder: The folder of the vectors; in MRB's cache if None.
        failures: Counts and limits failed items; none may fail if None.
    """

    def __init__(self, writer: EmbeddingWriter, folder: Path | None = None, failures: Failures | None = None) -> None:
        self.writer = writer
        self.failures = failures or Failures()
        writer.allowed = self.failures.allowed
        writer.folder = folder or find_first_stage_cache()
        self.used: list[Path] = []
        self.fresh = False

    @property
    def identity(self) -> dict[str, Any]:
        """Everything the encoder states that decides its vectors: name, options, source, version, revision, dtype."""
        return self.writer.identity

    @property
    def max_images(self) -> int | None:
        """How many images of one item the encoder takes; None for any number."""
        return self.writer.max_images

    def covers(self, data: TaskData) -> bool:
        """Return whether the encoder takes part in a fusion for this task."""
        return not self.writer.needs_images or data.queries.has_images or data.corpus.has_images

    def search(self, data: TaskData, depth: int) -> Iterator[RankedList]:
        """Return the documents with the largest inner product. One shard of documents is in memory at a time.

        A document that could not be encoded is in no list; such a query has an empty list. `failures` names both.
        """
        tables = make_shards(data, self.writer.folder, self.writer.shard_rows, self.identity)
        self.used += [shards.folder for shards in tables]
        for shards in tables if self.fresh else ():
            shutil.rmtree(shards.folder, ignore_errors=True)
        self.writer.prepare(tables)
        parts = list(self._vectors(tables[0]))
        query_ids = [query_id for ids, _ in parts for query_id in ids]
        queries = np.concatenate([rows for _, rows in parts]) if parts else np.empty((0, 0), np.float32)
        found = ExactSearch(data.task.id, query_ids, queries, depth)
        for doc_ids, rows in self._vectors(tables[1]):
            if parts and rows.shape[1] != queries.shape[1]:
                raise AdapterError(
                    f"{self.writer.name}: queries are {queries.shape[1]} wide, documents {rows.shape[1]}"
                )
            found.add(doc_ids, rows)
        return add_empty_lists(tables[0].ids, set(tables[0].ids) - set(query_ids), found.results())

    def discard(self) -> None:
        """Remove the vectors that searches of this object have written or used."""
        for folder in self.used:
            shutil.rmtree(folder, ignore_errors=True)
        self.used.clear()

    def close(self) -> None:
        """Close the encoder."""
        self.writer.close()

    def _vectors(self, shards: Shards) -> Iterator[tuple[list[str], Float32]]:
        """Yield (ids, vectors) by shard, without failed items."""
        with start_progress(f"searching {shards.kind}", "shards", len(shards)) as bar:
            for number in range(len(shards)):
                part, rows = shards.part(number), shards.read(number)
                good = np.isfinite(rows).all(axis=1)
                if not good.all():
                    self._note_failed(shards, [part[row] for row in np.flatnonzero(~good)])
                if good.any():  # the width of a shard without a valid vector is unknown
                    yield [part[row] for row in np.flatnonzero(good)], rows[good]
                bar.advance()
        shards.complete()

    def _note_failed(self, shards: Shards, ids: list[str]) -> None:
        for item_id in ids:
            error = AdapterError(
                f"{shards.folder}: {shards.kind}: {item_id!r} could not be encoded; --fresh tries again"
            )
            self.failures.add(shards.kind, item_id, error)
