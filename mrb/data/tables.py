"""Read files to Arrow tables through `datasets`, with the column layouts of the public copies of the data sets."""

from __future__ import annotations

import contextlib
import csv
import ctypes
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mrb._util.files import UNWRITABLE
from mrb.data.items import DecodeCache, ImageCaps
from mrb.data.json_rows import iterate_json_rows, read_json_columns
from mrb.data.task_data import ItemTable
from mrb.errors import DataError, to_one_line
from mrb.metrics.measures import MAX_GRADE

ID_COLUMNS = ("_id", "id")
QUERY_ID_COLUMNS = (*ID_COLUMNS, "query-id")
CORPUS_ID_COLUMNS = (*ID_COLUMNS, "corpus-id")
TEXT_COLUMNS = ("text", "query")
IMAGE_COLUMNS = ("image", "images")
_NUMBERED = re.compile(r"image (\d{1,3})")
QREL_COLUMNS = (("query-id", "query_id"), ("corpus-id", "corpus_id"), ("score",))
"""Names of the columns of judgements, of each the usual one first."""
ROWS_HELD = 100
"""Rows in memory while files are converted to Arrow. The default of 1,000 would be gigabytes for large images."""


@dataclass(frozen=True)
class RawTable:
    """An Arrow table and its name in errors (`where`)."""

    table: pa.Table
    where: str

    def column(self, *names: str) -> str:
        """Return the first of `names` that the table has. Raises DataError, which lists columns found and wanted."""
        for name in names:
            if name in self.table.column_names:
                return name
        found = ", ".join(self.table.column_names)
        raise DataError(f"{self.where}: columns found: {found}; wanted one of: {', '.join(names)}")

    def read(self, kind: pa.DataType, *names: str) -> pa.ChunkedArray:
        """Return the first of the columns `names` cast to `kind`. Raises DataError if this fails."""
        name = self.column(*names)
        try:
            return self.table.column(name).cast(kind)
        except pa.ArrowException as error:
            raise DataError(f"{self.where}: column {name} cannot be read as {kind}: {to_one_line(error)}") from error

    def ids(self, *names: str) -> pa.ChunkedArray:
        """Return an id column as strings; whole numbers become decimal text.

        Raises DataError for any other type: a float or a date has several spellings, and two tables of a task may use
        different ones.
        """
        name = self.column(*names)
        kind = self.table.column(name).type
        for refused in (pa.types.is_floating, pa.types.is_boolean, pa.types.is_temporal, pa.types.is_decimal):
            if refused(kind):
                raise DataError(f"{self.where}: column {name} has type {kind}, ids are strings or whole numbers")
        found = self.read(pa.string(), name)
        try:
            found.validate(full=True)  # a damaged file may hold strings that are not UTF-8
        except pa.ArrowException as error:
            raise DataError(f"{self.where}: column {name} is damaged: {to_one_line(error)}") from error
        return found


def read_small(path: Path, where: str) -> RawTable:
    """Read a small parquet file of MRB's own as an Arrow table in memory.

    It avoids `datasets`, whose import takes longer than the reading. Raises DataError if the file is damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            return RawTable(file.read(), where)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where}: cannot be read as parquet: {to_one_line(error)}") from error


def read_files(paths: list[Path], file_format: str, where: str) -> RawTable:
    """Read parquet, JSON or TSV files as one memory-mapped Arrow table. Raises DataError if they are damaged."""
    with silence_datasets() as datasets, _release_memory():
        try:
            if file_format == "json":
                data = _read_json(datasets, paths)
            else:
                settings = _make_csv_options(datasets, paths[0]) if file_format == "tsv" else _make_memory_options()
                data = datasets.load_dataset(
                    "csv" if file_format == "tsv" else file_format,
                    data_files=[str(path) for path in paths],
                    split="train",
                    **settings,
                )
        except (datasets.exceptions.DatasetGenerationError, pa.ArrowException, OSError, ValueError) as error:
            cause = error.__cause__ or error
            if isinstance(cause, OSError) and cause.errno in UNWRITABLE:
                other = "HF_DATASETS_CACHE names another folder for tables"
                raise DataError(f"{where}: cannot be turned into a table: {to_one_line(cause)}; {other}") from error
            raise DataError(f"{where}: cannot be read as {file_format}: {to_one_line(cause)}") from error
    return RawTable(data.data.table, where)


def _read_json(datasets: Any, paths: list[Path]) -> Any:
    """Return JSON files as a data set of strings. The reader of `datasets` would turn ids that look like dates into
    dates."""
    columns = read_json_columns(paths)
    features = {name: datasets.Value("string" if keep else "null") for name, keep in columns.items()}
    files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return datasets.Dataset.from_generator(
        iterate_json_rows,
        features=datasets.Features(features),
        gen_kwargs={"files": files, "columns": columns},
        writer_batch_size=ROWS_HELD,
    )


def _make_memory_options() -> dict[str, Any]:
    """Return settings that keep a few rows in memory, not whole files of images, while parquet is converted."""
    import pyarrow.dataset  # imported here, like `datasets`, which imports it too

    scan = pyarrow.dataset.ParquetFragmentScanOptions(pre_buffer=False)
    return {"writer_batch_size": ROWS_HELD, "fragment_scan_options": scan}


def _make_csv_options(datasets: Any, path: Path) -> dict[str, Any]:
    """Return settings for a tab-separated file; an id that looks like a number or a missing value stays text."""
    with path.open(encoding="utf-8") as file:
        names = file.readline().rstrip("\r\n").split("\t")
    features = datasets.Features({name: datasets.Value("string") for name in names})
    return {"sep": "\t", "features": features, "keep_default_na": False, "quoting": csv.QUOTE_NONE}


def make_item_table(
    raw: RawTable,
    id_columns: tuple[str, ...],
    *,
    prefix: str,
    caps: ImageCaps,
    cache: DecodeCache | None,
    first: bool = False,
) -> ItemTable:
    """Return the table as items: ids as strings with `prefix`, titles and texts, and images as encoded bytes.

    If `first` is true, a repeated id keeps its first row; otherwise it raises DataError.
    """
    ids = raw.ids(*id_columns).to_pylist()
    rows = {f"{prefix}{item_id}" if prefix else item_id: row for row, item_id in enumerate(ids)}
    if None in ids:
        raise DataError(f"{raw.where}: row {ids.index(None)} has no id")
    repeated = len(ids) - len(rows)
    if repeated:
        rows = {}
        for row, item_id in enumerate(ids):
            if rows.setdefault(f"{prefix}{item_id}", row) != row and not first:
                raise make_duplicate_error(raw.where, item_id)
    names = raw.table.column_names
    text = next((name for name in TEXT_COLUMNS if name in names), None)
    texts = None if text is None else raw.read(pa.string(), text)
    titles = raw.read(pa.string(), "title") if text is not None and "title" in names else None
    return ItemTable(raw.where, rows, texts, _find_images(raw), caps, cache, titles, repeated=repeated)


def make_duplicate_error(where: str, item_id: str) -> DataError:
    """Return the error for an id that two rows of a table have."""
    return DataError(
        f'{where}: id {item_id!r} occurs twice; where the source is known for it, duplicates = "first" in the [rules] '
        "of the task's file takes the first row"
    )


def iterate_qrels(raw: RawTable, prefix: str) -> Iterator[tuple[str, str, int]]:
    """Yield (query id, document id, grade) of each row. Raises DataError for an empty cell or an invalid grade."""
    query_names, document_names, score_names = QREL_COLUMNS
    queries, documents = raw.ids(*query_names), raw.ids(*document_names)
    scores = raw.read(pa.float64(), *score_names)
    if queries.null_count or documents.null_count or scores.null_count:
        raise DataError(f"{raw.where}: a judgement has an empty cell")
    for query_id, doc_id, score in zip(queries.to_pylist(), documents.to_pylist(), scores.to_pylist(), strict=True):
        if not score.is_integer():
            raise DataError(f"{raw.where}: query {query_id!r}, document {doc_id!r}: grade {score} is not whole")
        if score > MAX_GRADE:
            raise DataError(
                f"{raw.where}: query {query_id!r}, document {doc_id!r}: grade {score:g} is over {MAX_GRADE}"
            )
        yield f"{prefix}{query_id}", f"{prefix}{doc_id}", int(score)


def _find_images(raw: RawTable) -> pa.ChunkedArray | None:
    """Return the encoded bytes of the column `image` or `images`, or None without one.

    Columns `image 1`, `image 2`, ... are further images of the same item, after the one in `image`. A cell is an image
    feature or its bytes, or a list of these; then the result has lists. A row with a path instead of bytes raises
    DataError, since no path from data is ever opened, and so does an empty place in a list.
    """
    names = [name for name in IMAGE_COLUMNS if name in raw.table.column_names]
    columns = {name: raw.table.column(name) for name in names if not pa.types.is_null(raw.table.column(name).type)}
    if len(columns) > 1:
        raise DataError(f"{raw.where}: has the columns {' and '.join(columns)}, wanted one of them")
    if numbered := _list_numbered(raw.table.column_names):
        return _join_columns(raw, [*(name for name in columns if name == "image"), *numbered])
    if not columns:
        return None
    ((name, column),) = columns.items()
    where = f"{raw.where}: column {name}"
    if not _is_list(column.type):
        return _read_bytes(column, where, column.type, range(len(column)))
    column = column.cast(pa.list_(column.type.value_type))
    chunks = []
    first = 0
    for chunk in column.chunks:
        rows = (first + pc.list_parent_indices(chunk).to_numpy()).tolist()
        values = _read_bytes(pa.chunked_array([chunk.flatten()]), where, column.type, rows).combine_chunks()
        if values.null_count:
            row = rows[pc.index(pc.is_null(values), True).as_py()]
            raise DataError(f"{where}: row {row} has an empty place in its list of images")
        lengths = pc.fill_null(pc.list_value_length(chunk), 0).to_numpy()
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        chunks.append(pa.ListArray.from_arrays(offsets, values, mask=chunk.is_null()))
        first += len(chunk)
    return pa.chunked_array(chunks, pa.list_(pa.binary()))


def is_image_column(name: str) -> bool:
    """Return whether a table's column of this name is read as images."""
    return name in IMAGE_COLUMNS or _NUMBERED.fullmatch(name) is not None


def _list_numbered(names: Sequence[str]) -> list[str]:
    """Return the columns `image 1`, `image 2`, ... in the order of their numbers."""
    found = [match for name in names if (match := _NUMBERED.fullmatch(name))]
    return [match[0] for match in sorted(found, key=lambda match: int(match[1]))]


def _join_columns(raw: RawTable, names: Sequence[str]) -> pa.ChunkedArray | None:
    """Return the images of several columns as one list per row, in the order of `names`, without empty cells.

    None if all columns are null.
    """
    columns = [raw.table.column(name) for name in names]
    filled = [(name, column) for name, column in zip(names, columns, strict=True) if not pa.types.is_null(column.type)]
    read = {
        name: _read_bytes(column, f"{raw.where}: column {name}", column.type, range(len(column))).cast(pa.binary())
        for name, column in filled
    }
    if not read:
        return None
    chunks = []
    # A few rows at a time, because the bytes are copied and a batch of large images must stay under 2 GiB.
    for batch in pa.table(read).to_batches(max_chunksize=ROWS_HELD):
        valid = np.stack([column.is_valid().to_numpy(zero_copy_only=False) for column in batch.columns], axis=1)
        by_row = np.arange(valid.size).reshape(len(batch.columns), -1).T[valid]
        offsets = np.concatenate([[0], np.cumsum(valid.sum(axis=1))]).astype(np.int32)
        chunks.append(pa.ListArray.from_arrays(pa.array(offsets), pa.concat_arrays(batch.columns).take(by_row)))
    return pa.chunked_array(chunks, pa.list_(pa.binary()))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _read_bytes(cells: pa.ChunkedArray, where: str, kind: pa.DataType, rows: Sequence[int]) -> pa.ChunkedArray:
    """Return the encoded bytes of image features. `rows` are the rows of the cells in the file, for errors."""
    if pa.types.is_binary(cells.type) or pa.types.is_large_binary(cells.type):
        return cells.cast(pa.binary())
    if not pa.types.is_struct(cells.type) or cells.type.get_field_index("bytes") < 0:
        raise DataError(f"{where} has type {kind}, wanted an image feature with bytes, or a list of them")
    encoded = pc.struct_field(cells, "bytes")
    if cells.type.get_field_index("path") >= 0:
        outside = pc.and_(pc.is_null(encoded), pc.is_valid(pc.struct_field(cells, "path")))
        if pc.any(outside).as_py():
            row = rows[pc.index(outside, True).as_py()]
            raise DataError(f"{where}: row {row} names an image file but holds no bytes; MRB opens no paths from data")
    return encoded


@contextlib.contextmanager
def _release_memory() -> Iterator[None]:
    """Return the memory that reading took to the system afterwards.

    Arrow's own allocator (mimalloc) keeps memory that its threads have freed, and `release_unused` frees the part of
    the calling thread only. So Arrow uses the system's allocator meanwhile. glibc also keeps freed memory, in one arena
    per thread, until `malloc_trim` is called, which Arrow's wheels do not do.
    """
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
        if sys.platform == "linux":
            with contextlib.suppress(AttributeError):  # a C library other than glibc
                ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def silence_datasets() -> Iterator[Any]:
    """Yield the `datasets` module without progress bars, logging and download counts, and restore them afterwards.

    It counts every call with a request to a server, even for local files; offline each request waits for a timeout.
    What it logs about a damaged file is also in the error.
    """
    import datasets

    shown, counts = datasets.is_progress_bar_enabled(), datasets.config.HF_UPDATE_DOWNLOAD_COUNTS
    verbosity = datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
    try:
        yield datasets
    finally:
        datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = counts
        datasets.logging.set_verbosity(verbosity)
        if shown:
            datasets.enable_progress_bars()
