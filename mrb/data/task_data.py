"""`TaskData`, the loaded tables of a task. They stay in Arrow: text and image bytes are read only when needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa

from mrb.data.items import DecodeCache, ImageCaps, ImageHandle, Item
from mrb.data.stats import Counts
from mrb.data.task import Task
from mrb.errors import DataError

Qrels = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class ItemTable:
    """A table of items by id.

    `rows` maps an id to its row. `texts` are strings or null, `images` encoded bytes or null. With `titles`, a text is
    title, space and text, stripped of white space (of the characters `ends` if given), as BEIR joins them (arXiv
    2104.08663). Title and text are joined per item, because joining a corpus of millions would copy it into memory.
    `repeated` is the number of rows that were dropped because their id is repeated.
    """

    name: str
    rows: Mapping[str, int]
    texts: pa.ChunkedArray | None
    images: pa.ChunkedArray | None
    caps: ImageCaps = field(default_factory=ImageCaps)
    cache: DecodeCache | None = None
    titles: pa.ChunkedArray | None = None
    ends: str | None = None
    repeated: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self.rows

    @cached_property
    def has_images(self) -> bool:
        """True if any row of the table has an image."""
        return self.images is not None and self.images.null_count < len(self.images)

    @cached_property
    def has_texts(self) -> bool:
        """True if any row of the table has a text that is not empty."""
        columns = [column for column in (self.titles, self.texts) if column is not None]
        return any(c.null_count < len(c) for c in columns) and any(map(self._text, self.rows.values()))

    def item(self, item_id: str) -> Item:
        """Return the item of an id. Its image is a handle that reads and decodes when used.

        Raises DataError for an unknown id.
        """
        row = self._row(item_id)
        return Item(self._text(row), self._image(item_id, row))

    def encoded(self, item_id: str) -> pa.Buffer | None:
        """Return the encoded bytes of an id's image without a copy, or None if it has no image."""
        row = self._row(item_id)
        if self.images is None or not self.images[row].is_valid:
            return None
        return self.images[row].as_buffer()

    def _row(self, item_id: str) -> int:
        row = self.rows.get(item_id)
        if row is None:
            raise DataError(f"{self.name}: no row with id {item_id!r}")
        return row

    def _text(self, row: int) -> str:
        try:
            text = _cell(self.texts, row)
            return text if self.titles is None else f"{_cell(self.titles, row)} {text}".strip(self.ends)
        except UnicodeDecodeError as error:
            raise DataError(f"{self.name}: row {row}: its text is not UTF-8: {error}") from error

    def _image(self, item_id: str, row: int) -> ImageHandle | None:
        images = self.images
        if images is None or not images[row].is_valid:
            return None

        def read() -> bytes:
            encoded: bytes = images[row].as_py()
            return encoded

        return ImageHandle(read, where=f"{self.name}, {item_id!r}", caps=self.caps, cache=self.cache)


def _cell(column: pa.ChunkedArray | None, row: int) -> str:
    value = None if column is None else column[row].as_py()
    return value or ""


@dataclass(frozen=True)
class TaskData:
    """A task with its loaded tables.

    `queries` are those with a positive, in the source's order. `qrels` maps a query id to {document id: grade}, with
    positive grades only. `side` holds extra text or images of the documents for first stages in some tasks; a reranker
    never sees it.
    """

    task: Task
    queries: ItemTable
    corpus: ItemTable
    qrels: Qrels
    counts: Counts
    side: ItemTable | None = None

    @cached_property
    def clusters(self) -> dict[str, str] | None:
        """{query id: cluster key} by `Task.cluster`; None if all queries are independent."""
        kind = self.task.cluster
        if kind == "none":
            return None
        if kind == "document":
            return _clusters_by_document(self.qrels)
        keys = {}
        for query_id in self.queries:
            item = self.queries.item(query_id)
            keys[query_id] = item.text if kind == "query_text" or item.image is None else item.image.sha256
        return keys


def _clusters_by_document(qrels: Qrels) -> dict[str, str]:
    """Return one key for all queries that share a positive document, directly or through others (union-find)."""
    parent: dict[str, str] = {query_id: query_id for query_id in qrels}

    def root(query_id: str) -> str:
        while parent[query_id] != query_id:
            parent[query_id] = parent[parent[query_id]]
            query_id = parent[query_id]
        return query_id

    first_query: dict[str, str] = {}
    for query_id, grades in qrels.items():
        for doc_id in grades:
            parent[root(query_id)] = root(first_query.setdefault(doc_id, query_id))
    return {query_id: root(query_id) for query_id in qrels}
