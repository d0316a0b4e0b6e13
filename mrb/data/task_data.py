"""`TaskData`, the loaded tables of a task. They stay in Arrow: text and image bytes are read only when needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mrb._util.hashing import hash_json
from mrb.data.items import DecodeCache, ImageCaps, ImageHandle, Item
from mrb.data.stats import Counts
from mrb.data.task import Task
from mrb.errors import DataError

Qrels = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class ItemTable:
    """A table of items by id.

    `rows` maps an id to its row. `texts` are strings or null, `images` encoded bytes or null, or lists of encoded
    bytes where rows may have several. With `titles`, a text is
    title, space and text, stripped of white space (of the characters `ends` if given), as BEIR joins them (arXiv
    2104.08663). Title and text are joined per item, because joining a corpus of millions would copy it into memory.
    `repeated` is the number of rows that were dropped because their id is repeated. `image_files` are lists of the
    files of a row's images, for errors, where they are known.
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
    image_files: pa.ChunkedArray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self.rows

    @cached_property
    def has_images(self) -> bool:
        """True if any row of the table has an image."""
        return self.most_images > 0

    @cached_property
    def most_images(self) -> int:
        """The greatest number of images of a row."""
        if self.images is None or self.images.null_count == len(self.images):
            return 0
        return (pc.max(pc.list_value_length(self.images)).as_py() or 0) if holds_lists(self.images) else 1

    @cached_property
    def has_texts(self) -> bool:
        """True if any row of the table has a text that is not empty."""
        columns = [column for column in (self.titles, self.texts) if column is not None]
        return any(c.null_count < len(c) for c in columns) and any(map(self._text, self.rows.values()))

    def item(self, item_id: str) -> Item:
        """Return the item of an id. Its images are handles that read and decode when used.

        Raises DataError for an unknown id.
        """
        row = self._row(item_id)
        count = len(self._cells(row))
        return Item(self._text(row), images=(self._image(item_id, row, place, count) for place in range(count)))

    def encoded(self, item_id: str) -> tuple[pa.Buffer, ...]:
        """Return the encoded bytes of an id's images, in order, without a copy."""
        return tuple(cell.as_buffer() for cell in self._cells(self._row(item_id)))

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

    def _cells(self, row: int) -> Sequence[pa.Scalar]:
        """Return the cells of a row's images, in order."""
        if self.images is None or not (cell := self.images[row]).is_valid:
            return ()
        return list(cell.values) if holds_lists(self.images) else (cell,)

    def _image(self, item_id: str, row: int, place: int, count: int) -> ImageHandle:
        def read() -> bytes:
            encoded: bytes = self._cells(row)[place].as_py()
            return encoded

        which = f", image {place + 1} of {count}" if count > 1 else ""
        if self.image_files is not None:
            which += f" ({self.image_files[row][place]})"
        return ImageHandle(read, where=f"{self.name}, {item_id!r}{which}", caps=self.caps, cache=self.cache)


def holds_lists(images: pa.ChunkedArray) -> bool:
    """Return whether a column holds lists of images, otherwise one image or null per row."""
    return bool(pa.types.is_list(images.type))


def as_lists(images: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of images as lists; a column of single images is not copied."""
    kind = pa.list_(pa.binary())
    if holds_lists(images):
        return images.cast(kind)
    chunks = [_wrap(chunk.cast(pa.binary())) for chunk in images.chunks]
    return pa.chunked_array(chunks, kind)


def _wrap(chunk: pa.Array) -> pa.Array:
    """Return an array of lists with one image each, null where the image is null."""
    offsets = pa.array(np.arange(len(chunk) + 1, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, chunk, mask=chunk.is_null())


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
        if kind == "positives":
            return {query_id: hash_json(sorted(grades.items())) for query_id, grades in self.qrels.items()}
        keys = {}
        for query_id in self.queries:
            item = self.queries.item(query_id)
            by_text = kind == "query_text" or not item.images
            # Several images: queries that show the same images in the same order.
            keys[query_id] = item.text if by_text else " ".join(image.sha256 for image in item.images)
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


def find_query_parts(task: Task, query_ids: Iterable[str]) -> tuple[str, ...] | None:
    """Return the part of each query (ids are `part/id`), or None if the task's score is the mean over queries.

    Raises:
        DataError: An id belongs to none of the task's parts.
    """
    if not task.rules.average_over_parts:
        return None
    known = {part.name for part in task.source.parts}
    found = []
    for query_id in query_ids:
        name = query_id.partition("/")[0]
        if name not in known:
            raise DataError(f"task {task.id}: query {query_id!r} belongs to none of its {len(known)} parts")
        found.append(name)
    return tuple(found)
