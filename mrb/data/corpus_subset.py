"""Extract the corpus rows that a run needs into an Arrow file, which later runs memory-map.

A corpus may have millions of rows and gigabytes of images, but a candidate list names only some of them. The files are
read a few rows at a time, rows that no list names are skipped, and no image is decoded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mrb._util.files import open_atomically
from mrb._util.hashing import hash_json, hash_lines
from mrb.data.items import DecodeCache, ImageCaps
from mrb.data.tables import CORPUS_ID_COLUMNS, ROWS_HELD, RawTable, make_duplicate_error, make_item_table
from mrb.data.task_data import ItemTable, as_lists
from mrb.errors import DataError, to_one_line
from mrb.hub.manifest import find_cache_root

LAYOUT = 3
"""Version of the file's content. It is part of the cache key: raise it when the content changes."""
PAGE_BUFFER = 1024 * 1024
_IMAGES = pa.list_(pa.binary())
_SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string()), ("images", _IMAGES), ("listed", pa.bool_())])


@dataclass(frozen=True)
class NeededDocuments:
    """The documents that a run shows: their ids and the SHA-256 of the list that names them."""

    sha256: str
    doc_ids: Collection[str]

    @classmethod
    def of(cls, doc_ids: Iterable[str]) -> Self:
        """Return the `NeededDocuments` of ids that no frozen list names; the hash is taken over the sorted ids."""
        ids = frozenset(doc_ids)
        return cls(hash_lines(doc_id.encode() for doc_id in sorted(ids)), ids)


NOTHING = NeededDocuments("none", frozenset())
"""Needs no document. For counting: finds which judged documents the corpus has, without their content."""


@dataclass(frozen=True)
class CorpusSubset:
    """The needed rows of a corpus.

    `items` holds the documents that the list names. `present` holds their ids and those of the judged documents that
    the corpus has. `rows` is the number of rows of the whole corpus.
    """

    items: ItemTable
    present: frozenset[str]
    rows: int


@dataclass(frozen=True)
class CorpusSource:
    """A corpus on disk.

    `digests` are the SHA-256 of the files and identify the content. `prefix` is put before every id. `rows` is the
    number of rows. `whole` is the memory-mapped table, or None for parquet files, which are read by row group. If
    `first` is true, a repeated id keeps its first row; otherwise a repeated id is an error.
    """

    paths: Sequence[Path]
    digests: Sequence[str]
    prefix: str
    where: str
    rows: int
    whole: RawTable | None
    first: bool = False


def reduce_corpus(
    source: CorpusSource, needed: NeededDocuments, judged: Collection[str], caps: ImageCaps, cache: DecodeCache
) -> CorpusSubset:
    """Return the needed rows from the cache file, which is written first if it is missing.

    Raises DataError for a damaged file or a repeated id.
    """
    # The judged ids also decide which rows the file holds, so they are part of the key.
    key = hash_json(
        [LAYOUT, list(source.digests), source.prefix, needed.sha256, sorted(judged), *["first"] * source.first]
    )
    path = find_cache_root() / "reduced" / f"{key}.arrow"
    if not path.is_file():
        _write(path, source, needed, judged)
    return _read(path, source, caps, cache)


def read_footers(paths: Sequence[Path], where: str) -> tuple[int, tuple[str, ...]]:
    """Return (number of rows, column names) from the parquet footers; the names are those of the first file."""
    with _name_table_in_errors(where):
        footers = [pq.read_metadata(path) for path in paths]
        return sum(footer.num_rows for footer in footers), tuple(footers[0].schema.to_arrow_schema().names)


def _write(path: Path, source: CorpusSource, needed: NeededDocuments, judged: Collection[str]) -> None:
    named = (name for name in {*needed.doc_ids, *judged} if name.startswith(source.prefix))
    wanted = frozenset(name.removeprefix(source.prefix) for name in named)
    tables = _filter_parquet(source, wanted) if source.whole is None else _filter_table(source.whole, wanted)
    repeated = source.rows - _count_distinct(source) if source.first else 0
    schema = _SCHEMA.with_metadata({b"rows": str(source.rows).encode(), b"repeated": str(repeated).encode()})
    listed = needed.doc_ids if isinstance(needed.doc_ids, set | frozenset) else frozenset(needed.doc_ids)
    with open_atomically(path) as file, pa.ipc.new_file(file, schema) as writer:
        for kept in tables:
            writer.write_table(_select_columns(RawTable(kept, source.where), source.prefix, listed))


def _count_distinct(source: CorpusSource) -> int:
    """Return the number of distinct ids in the corpus."""
    ids: list[pa.Array] = []
    with _name_table_in_errors(source.where):
        if source.whole is not None:
            ids = source.whole.ids(*CORPUS_ID_COLUMNS).chunks
        for path in source.paths if source.whole is None else ():
            name = RawTable(pq.read_schema(path).empty_table(), source.where).column(*CORPUS_ID_COLUMNS)
            ids += RawTable(pq.read_table(path, columns=[name]), source.where).ids(name).chunks
        return int(pc.count_distinct(pa.chunked_array(ids, pa.string())).as_py())


def _filter_table(whole: RawTable, wanted: frozenset[str]) -> Iterator[pa.Table]:
    """Yield the wanted rows of a memory-mapped table, one batch at a time."""
    for batch in whole.table.to_batches(max_chunksize=10_000):
        piece = pa.Table.from_batches([batch])
        with _name_table_in_errors(whole.where):
            mask = _mask_wanted(RawTable(piece, whole.where).ids(*CORPUS_ID_COLUMNS), wanted)
            if mask.true_count:
                yield piece.filter(mask)


def _filter_parquet(source: CorpusSource, wanted: frozenset[str]) -> Iterator[pa.Table]:
    """Yield the wanted rows of parquet files. Of a row group without wanted rows only the id column is read."""
    with _name_table_in_errors(source.where):
        for path in source.paths:
            # A row group of images can be gigabytes, so pages are read through a small buffer.
            with pq.ParquetFile(path, buffer_size=PAGE_BUFFER, pre_buffer=False) as file:
                name = RawTable(file.schema_arrow.empty_table(), source.where).column(*CORPUS_ID_COLUMNS)
                for group in range(file.num_row_groups):
                    ids = RawTable(file.read_row_group(group, columns=[name]), source.where).ids(name)
                    mask, start = _mask_wanted(ids, wanted), 0
                    if not mask.true_count:
                        continue
                    for batch in file.iter_batches(ROWS_HELD, row_groups=[group]):
                        own = mask.slice(start, batch.num_rows)
                        start += batch.num_rows
                        if own.true_count:
                            yield pa.Table.from_batches([batch]).filter(own)


def _mask_wanted(ids: pa.ChunkedArray, wanted: frozenset[str]) -> pa.BooleanArray:
    """Return a mask of the `ids` that are wanted. Arrow's `is_in` would hash the whole wanted set for every batch."""
    return pa.array([item_id in wanted for item_id in ids.to_pylist()], pa.bool_())


def _select_columns(kept: RawTable, prefix: str, listed: Collection[str]) -> pa.Table:
    """Return the rows as the file stores them; a row that is judged but not listed keeps its id and no content."""
    # Repeated ids keep their rows here. `_read` finds them, because they may lie in different batches.
    items = make_item_table(kept, CORPUS_ID_COLUMNS, prefix=prefix, caps=ImageCaps(), cache=None, first=True)
    ids = [f"{prefix}{item_id}" for item_id in kept.ids(*CORPUS_ID_COLUMNS).to_pylist()]
    shown = [item_id in listed for item_id in ids]
    texts = [items.item(item_id).text if one else None for item_id, one in zip(ids, shown, strict=True)]
    images = pa.nulls(len(ids), _IMAGES) if items.images is None else as_lists(items.images)
    images = pc.if_else(pa.array(shown), images, pa.scalar(None, _IMAGES))
    return pa.table([ids, texts, images, shown], schema=_SCHEMA)


def _read(path: Path, source: CorpusSource, caps: ImageCaps, cache: DecodeCache) -> CorpusSubset:
    where = source.where
    with _name_table_in_errors(f"{where}: {path}"):
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    rows: dict[str, int] = {}
    present: set[str] = set()
    for row, (item_id, listed) in enumerate(
        zip(table.column("id").to_pylist(), table.column("listed").to_pylist(), strict=True)
    ):
        if item_id in present:
            if source.first:
                continue
            raise make_duplicate_error(where, item_id)
        present.add(item_id)
        if listed:
            rows[item_id] = row
    metadata = table.schema.metadata
    repeated = int(metadata.get(b"repeated", 0))
    items = ItemTable(where, rows, table.column("text"), table.column("images"), caps, cache, repeated=repeated)
    return CorpusSubset(items, frozenset(present), int(metadata[b"rows"]))


@contextlib.contextmanager
def _name_table_in_errors(where: str) -> Iterator[None]:
    """Turn an Arrow or system error about a file into a DataError that names the table."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where}: cannot be read: {to_one_line(error)}") from error
