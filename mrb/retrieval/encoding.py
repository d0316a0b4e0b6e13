"""Encode shards of vectors in this process, and verify stored vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mrb._util.redact import redact
from mrb.candidates.lists import Candidates
from mrb.data.items import Item
from mrb.data.task_data import TaskData
from mrb.errors import AdapterError, DataError, MRBError
from mrb.evaluation.answers import convert_scores
from mrb.evaluation.failures import FailureBudget
from mrb.rerankers.calling import guard_adapter_call
from mrb.rerankers.plugins import Adapter, close_adapter
from mrb.rerankers.raised import to_adapter_error
from mrb.retrieval.retriever import Float32
from mrb.retrieval.shards import SHARD_ROWS, Shards, shards_of

BATCH = 32
CHECKED = 4
"""The number of stored vectors per table, and of documents of a stored list, that are encoded again as a check."""
TOLERANCE = 0.03
"""The largest accepted change in that check: of a vector as a share of its length, of a score as a share of the list's
largest score. Half precision with another batch size stays below it."""


class Maker(Protocol):
    """Encodes and writes shards, in this process (`Encoding`) or in others (`mrb.parallel.encoding_pool`)."""

    name: str
    identity: dict[str, Any]
    shard_rows: int
    needs_images: bool
    allowed: int
    """The number of items of a task that may fail. Their vectors are NaN."""

    def prepare(self, data: TaskData, tables: Sequence[Shards]) -> None:
        """Prepare a search. Processes write all missing shards of the tables here, at once."""
        ...

    def make(self, shards: Shards, number: int, made: Callable[[int], object]) -> None:
        """Write one missing shard; `made` receives numbers of encoded items."""
        ...

    def close(self) -> None:
        """Close the encoder."""
        ...


class Encoding:
    """An encoder in this process; it gets `batch_size` items per call. AdapterError if it breaks its contract."""

    def __init__(self, adapter: Adapter) -> None:
        self.name = adapter.name
        self.target = adapter.target
        self.shard_rows = int(getattr(self.target, "shard_rows", SHARD_ROWS))
        self.needs_images = bool(getattr(self.target, "needs_images", False))
        self.batch_size = int(getattr(self.target, "batch_size", BATCH))
        self.allowed = 0
        self.allowance = FailureBudget(0)
        self.identity: dict[str, Any] = {
            "retriever": adapter.name,
            "options": redact({key: str(value) for key, value in adapter.options.items()}),
            "source_sha256": adapter.source_sha256,
            **{name: _stated(self.target, name) for name in ("version", "revision", "dtype")},
        }

    def prepare(self, data: TaskData, tables: Sequence[Shards]) -> None:
        """Verify the stored shards. Missing shards are encoded when they are needed."""
        self.allowance = FailureBudget(self.allowed, things="items")
        for shards in tables:
            self.verify(shards)

    def verify(self, shards: Shards) -> None:
        """Encode a few stored vectors of a table again. Raises AdapterError, which names the item, if one differs."""
        number = next((number for number in range(len(shards)) if shards.path(number).exists()), None)
        if number is None:
            return
        vectors = shards.read(number)
        rows = np.flatnonzero(np.isfinite(vectors).all(axis=1))[:CHECKED]  # NaN rows are allowed failures
        if not len(rows):
            return
        ids = [shards.part(number)[row] for row in rows]
        for item_id, kept, now in zip(ids, vectors[rows], self._rows(shards, ids), strict=False):
            apart = float(np.linalg.norm(now - kept)) if now.shape == kept.shape else np.inf
            if apart > TOLERANCE * max(float(np.linalg.norm(kept)), 1e-6):
                raise AdapterError(
                    f"{shards.path(number)}: {shards.kind}: {item_id!r} has another vector now ({apart:.3g} apart): "
                    "not the same model's; --fresh encodes anew"
                )

    def verify_list(self, data: TaskData, candidates: Candidates, where: str) -> None:
        """Score a few pairs of this encoder's stored list again. Raises AdapterError, which names a changed pair."""
        queries, documents = shards_of(data, Path(), self.shard_rows, self.identity)
        query_id, doc_ids, scores = next(iter(candidates.lists()))
        ids = doc_ids[:CHECKED]
        now = self._rows(documents, ids) @ self._rows(queries, [query_id])[0]
        apart = np.abs(now - scores[: len(ids)])
        worst = int(np.argmax(apart))
        if apart[worst] > TOLERANCE * float(np.abs(scores).max()):
            raise AdapterError(
                f"{where}: task {data.task.id}, query {query_id!r}, document {ids[worst]!r} scored {scores[worst]} and "
                f"scores {now[worst]} now: not the same model's; --fresh makes the list anew"
            )

    def make(self, shards: Shards, number: int, made: Callable[[int], object] = lambda _: None) -> None:
        """Encode a shard batch by batch and write it."""
        parts: list[Float32] = []
        ids = shards.part(number)
        for first in range(0, len(ids), self.batch_size):
            batch = ids[first : first + self.batch_size]
            parts += self._most(shards, batch) if self.allowance.allowed else [self._rows(shards, batch)]
            made(len(batch))
        widths = {rows.shape[1] for rows in parts} - {0}
        if len(widths) > 1:
            raise AdapterError(f"{self.name}: vectors of one table differ in width")
        failed = np.full((1, max(widths, default=1)), np.nan, np.float32)
        shards.write(number, np.concatenate([rows if rows.shape[1] else failed for rows in parts]))

    def _most(self, shards: Shards, ids: Sequence[str]) -> list[Float32]:
        """Encode a batch, or each item alone if the batch fails; an item that fails alone gives a row of width 0."""
        try:
            return [self._rows(shards, ids)]
        except (AdapterError, DataError) as error:
            if len(ids) > 1:
                return [rows for item_id in ids for rows in self._most(shards, [item_id])]
            self.allowance.spend(1, error)
            return [np.empty((1, 0), np.float32)]

    def _rows(self, shards: Shards, ids: Sequence[str]) -> Float32:
        table = shards.table
        try:
            rows = self._encoded(shards, [table.item(item_id) for item_id in ids], f"{table.name}, {ids[0]!r}")
        except (AdapterError, DataError) as error:
            if not error.place or str(error).startswith(table.name):  # an image error already names the item
                raise
            raise error.at(f"{table.name}, {ids[error.place[0]]!r}") from error
        if rows.ndim != 2 or len(rows) != len(ids) or not rows.shape[1]:
            raise AdapterError(f"{self.name}: {len(ids)} items gave vectors of shape {rows.shape}")
        if not np.isfinite(rows).all():
            bad = ids[int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])]
            raise AdapterError(f"{self.name}: the vector of {bad!r} ({table.name}) is not finite")
        return rows

    def _encoded(self, shards: Shards, items: Sequence[Item], first: str) -> Float32:
        try:
            with guard_adapter_call(), np.errstate(over="ignore"):  # `_rows` refuses an infinity by name
                if shards.kind == "queries":
                    answer = self.target.encode_queries(items, shards.instruction)
                else:
                    answer = self.target.encode_documents(items)
                return convert_scores(answer).astype(np.float32)
        except MRBError:
            raise
        except BaseException as error:
            what = f"{self.name}: encoding {len(items)} items from {first} on raised"
            raise to_adapter_error(error, what) from error

    def close(self) -> None:
        """Close the encoder, if it has a `close`."""
        close_adapter(self.name, self.target)


def _stated(target: object, name: str) -> str | None:
    value = getattr(target, name, None)
    return None if value is None else str(value)
