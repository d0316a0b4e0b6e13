"""Encode shards of vectors in this process, and verify stored vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mrb._util.raised import to_adapter_error
from mrb._util.redact import redact
from mrb.data.items import Item
from mrb.data.task_data import TaskData
from mrb.errors import AdapterError, DataError, MRBError
from mrb.evaluation.answers import convert_scores
from mrb.evaluation.failures import FailureBudget
from mrb.rerankers.calling import guard_adapter_call
from mrb.rerankers.declaration import read_max_images
from mrb.rerankers.plugins import Adapter, close_adapter
from mrb.retrieval.retriever import Float32
from mrb.retrieval.shards import SHARD_ROWS, Kind, Shards, list_shards, select_table, show_progress

BATCH = 32
CHECKED = 4
"""The number of stored vectors per table, and of documents of a stored list, that are encoded again as a check."""
TOLERANCE = 0.03
"""The largest accepted change in that check: of a vector as a share of its length, of a score as a share of the largest
score. Half precision with another batch size stays below it."""


class EmbeddingWriter(Protocol):
    """Encodes items and writes shards, in this process (`LocalEncoder`) or in workers (`mrb.parallel.encoding`)."""

    name: str
    identity: dict[str, Any]
    shard_rows: int
    needs_images: bool
    max_images: int | None
    folder: Path
    """The folder of the vectors."""
    allowed: int
    """The number of items of a task that may fail. Their vectors are NaN."""

    def write_shards(self, tables: Sequence[Shards]) -> Iterator[tuple[Shards, int]]:
        """Verify the stored shards of a task's tables and write the missing ones. Yields (table, number) of every shard
        once it is on disk, in any order."""
        ...

    def encode(self, data: TaskData, kind: Kind, ids: Sequence[str]) -> Float32:
        """Encode a few items, to compare them with what is stored. Returns vectors of shape (n, width)."""
        ...

    def close(self) -> None:
        """Close the encoder."""
        ...


class LocalEncoder:
    """An encoder in this process; it gets `batch_size` items per call. AdapterError if it breaks its contract."""

    def __init__(self, adapter: Adapter) -> None:
        self.name = adapter.name
        self.target = adapter.target
        self.shard_rows = int(getattr(self.target, "shard_rows", SHARD_ROWS))
        self.needs_images = bool(getattr(self.target, "needs_images", False))
        self.max_images = read_max_images(adapter.name, self.target)
        self.batch_size = int(getattr(self.target, "batch_size", BATCH))
        self.folder = Path()
        self.allowed = 0
        self.budget = FailureBudget(0)
        self.identity: dict[str, Any] = {
            "retriever": adapter.name,
            "options": redact({key: str(value) for key, value in adapter.options.items()}),
            "source_sha256": adapter.source_sha256,
            **{name: _read_attribute(self.target, name) for name in ("version", "revision", "dtype")},
        }

    def write_shards(self, tables: Sequence[Shards]) -> Iterator[tuple[Shards, int]]:
        """Verify the stored shards and write the missing ones (`EmbeddingWriter.write_shards`)."""
        self.budget = FailureBudget(self.allowed, things="items")
        for shards in tables:
            self.verify(shards)
        stored, missing = list_shards(tables)
        yield from stored
        with show_progress(missing) as bar:
            for shards, number in missing:
                self.write_shard(shards, number, bar.advance)
                yield shards, number

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
        for item_id, kept, now in zip(ids, vectors[rows], self.encode(shards.data, shards.kind, ids), strict=False):
            apart = float(np.linalg.norm(now - kept)) if now.shape == kept.shape else np.inf
            if apart > TOLERANCE * max(float(np.linalg.norm(kept)), 1e-6):
                raise AdapterError(
                    f"{shards.path(number)}: {shards.kind}: {item_id!r} has another vector now ({apart:.3g} apart): "
                    "not the same model's; --fresh encodes all again"
                )

    def write_shard(self, shards: Shards, number: int, progress: Callable[[int], object] = lambda _: None) -> None:
        """Encode a shard batch by batch and write it."""
        parts: list[Float32] = []
        ids = shards.part(number)
        for first in range(0, len(ids), self.batch_size):
            batch = ids[first : first + self.batch_size]
            if self.budget.allowed:
                parts += self._encode_most(shards, batch)
            else:
                parts.append(self.encode(shards.data, shards.kind, batch))
            progress(len(batch))
        widths = {rows.shape[1] for rows in parts} - {0}
        if len(widths) > 1:
            raise AdapterError(f"{self.name}: vectors of one table differ in width")
        failed = np.full((1, max(widths, default=1)), np.nan, np.float32)
        shards.write(number, np.concatenate([rows if rows.shape[1] else failed for rows in parts]))

    def encode(self, data: TaskData, kind: Kind, ids: Sequence[str]) -> Float32:
        """Encode items in one call. Returns vectors of shape (n, width). Raises AdapterError, which names the item."""
        table = select_table(data, kind)
        instruction = data.task.instruction if kind == "queries" else None
        try:
            items = [table.item(item_id) for item_id in ids]
            rows = self._call_encoder(items, instruction, f"{table.name}, {ids[0]!r}")
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

    def close(self) -> None:
        """Close the encoder, if it has a `close`."""
        close_adapter(self.name, self.target)

    def _encode_most(self, shards: Shards, ids: Sequence[str]) -> list[Float32]:
        """Encode a batch, or each item alone if the batch fails; an item that fails alone gives a row of width 0."""
        try:
            return [self.encode(shards.data, shards.kind, ids)]
        except (AdapterError, DataError) as error:
            if len(ids) > 1:
                return [rows for item_id in ids for rows in self._encode_most(shards, [item_id])]
            self.budget.spend(1, error)
            return [np.empty((1, 0), np.float32)]

    def _call_encoder(self, items: Sequence[Item], instruction: str | None, first: str) -> Float32:
        try:
            with guard_adapter_call(), np.errstate(over="ignore"):  # `encode` refuses an infinity by name
                if instruction is not None:
                    answer = self.target.encode_queries(items, instruction)
                else:
                    answer = self.target.encode_documents(items)
                return convert_scores(answer).astype(np.float32)
        except MRBError:
            raise
        except BaseException as error:
            what = f"{self.name}: encoding {len(items)} items from {first} on raised"
            raise to_adapter_error(error, what) from error


def _read_attribute(target: object, name: str) -> str | None:
    value = getattr(target, name, None)
    return None if value is None else str(value)
