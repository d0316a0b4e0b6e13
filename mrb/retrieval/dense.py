"""Dense first stages: vectors are encoded once, shard by shard, stored on disk and searched exactly."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mrb._util.progress import track
from mrb.candidates.self_matches import RankedList
from mrb.data.task_data import TaskData
from mrb.errors import AdapterError
from mrb.retrieval.cache_paths import find_first_stage_cache
from mrb.retrieval.encoding import EmbeddingWriter
from mrb.retrieval.exact_search import ExactSearch
from mrb.retrieval.failures import Failures, add_empty_lists
from mrb.retrieval.retriever import Float32
from mrb.retrieval.search_backends import SearchOptions
from mrb.retrieval.shards import Shards, check_disk, make_shards


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
        self.options = SearchOptions()

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
        """Return the documents with the largest inner product. Shards are searched while others are encoded.

        A document that could not be encoded is in no list; such a query has an empty list. `failures` names both.
        """
        tables = make_shards(data, self.writer.folder, self.writer.shard_rows, self.identity)
        self.used += [shards.folder for shards in tables]
        for shards in tables if self.fresh else ():
            shutil.rmtree(shards.folder, ignore_errors=True)
        found: ExactSearch | None = None
        missing, ready, checked = len(tables[0]), deque[int](), False
        searches: deque[Future[None]] = deque()
        thread = ThreadPoolExecutor(1, "search")
        try:
            for shards, number in self.writer.write_shards(tables):
                if not checked:  # the first one tells how wide they are
                    check_disk(tables, shards.read(number).shape[1], self.options.max_disk)
                    checked = True
                if shards is tables[0]:
                    missing -= 1
                else:
                    ready.append(number)
                if found is None and not missing:
                    found = self._open_search(tables[0], depth)
                while found is not None and ready:
                    searches.append(thread.submit(self._search_shard, found, tables[1], ready.popleft()))
                while searches and searches[0].done():
                    searches.popleft().result()
            for search in track(searches, "searching documents", "shards"):
                search.result()
        finally:
            thread.shutdown(cancel_futures=True)
        for shards in tables:
            shards.complete()
            # Workers end in any order, and the manifest names what failed in the table's.
            if failed := set(self.failures.items.get(shards.kind, ())):
                self.failures.items[shards.kind] = [item_id for item_id in shards.ids if item_id in failed]
        if found is None:
            return iter(())
        lost = set(tables[0].ids).difference(found.query_ids)
        return add_empty_lists(tables[0].ids, lost, found.results())

    def discard(self) -> None:
        """Remove the vectors that searches of this object have written or used."""
        for folder in self.used:
            shutil.rmtree(folder, ignore_errors=True)
        self.used.clear()

    def close(self) -> None:
        """Close the encoder."""
        self.writer.close()

    def _open_search(self, shards: Shards, depth: int) -> ExactSearch:
        """Return a search for the queries that could be encoded."""
        parts = [self._read(shards, number) for number in range(len(shards))]
        kept = [rows for _, rows in parts if len(rows)]  # the width of a shard without a valid vector is unknown
        queries = np.concatenate(kept) if kept else np.empty((0, 0), np.float32)
        query_ids = [query_id for ids, _ in parts for query_id in ids]
        chosen = self.options
        return ExactSearch(shards.data.task.id, query_ids, queries, depth, chosen.backend, chosen.max_memory)

    def _search_shard(self, found: ExactSearch, shards: Shards, number: int) -> None:
        doc_ids, rows = self._read(shards, number)
        if not doc_ids or not found.query_ids:
            return
        if rows.shape[1] != found.width:
            raise AdapterError(f"{self.writer.name}: queries are {found.width} wide, documents {rows.shape[1]}")
        found.add(doc_ids, rows)

    def _read(self, shards: Shards, number: int) -> tuple[list[str], Float32]:
        """Return the ids and vectors of a shard without failed items."""
        part, rows = shards.part(number), shards.read(number)
        good = np.isfinite(rows).all(axis=1)
        if good.all():
            return part, rows
        self._note_failed(shards, [part[row] for row in np.flatnonzero(~good)])
        return [part[row] for row in np.flatnonzero(good)], rows[good]

    def _note_failed(self, shards: Shards, ids: list[str]) -> None:
        for item_id in ids:
            error = AdapterError(
                f"{shards.folder}: {shards.kind}: {item_id!r} could not be encoded; --fresh tries again"
            )
            self.failures.add(shards.kind, item_id, error)
