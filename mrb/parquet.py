"""Parquet files from strangers: read under caps, so that a small file cannot fill the memory.

Compression and dictionaries let a file of a few kilobytes stand for terabytes. So the columns, and the sizes that the
file states, are looked at before any page is read, and texts (and bytes) stay in their dictionaries until the longest
is known.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mrb.errors import MRBError, one_line

MAX_FILE_BYTES = 4 * 1024**3
"""Of the file, and of its content as stated before it is packed."""
MAX_ROWS = 50_000_000
MAX_TEXT_BYTES = 4096
"""Of one text: all that is read here are tables of ids and numbers."""


def read_untrusted(
    path: Path, schema: pa.Schema, error: type[MRBError], *, max_bytes: int = MAX_FILE_BYTES, threads: bool = True
) -> pa.Table:
    """The table in the file `path`, with exactly the columns of `schema`; the file's metadata stays with it.

    `threads`: whether Arrow may use several, whose stacks may not fit where memory is bounded.
    `error` names the file and says what is wrong: unreadable, damaged, other columns, too large.
    """
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_binary(field.type)]
    try:
        if path.stat().st_size > max_bytes:
            raise error(f"{path}: larger than {max_bytes} bytes")
        with pq.ParquetFile(path) as file:
            _check_columns(file.schema_arrow, schema, path, error)
            _check_stated(file.metadata, max_bytes, path, error)
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            table = file.read(use_threads=threads)
        table.validate(full=True)
        for name in texts:
            _check_texts(table.column(name), f"{path}: column {name}", error)
        return table.cast(schema.with_metadata(table.schema.metadata))
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror or one_line(problem)}") from problem
    except (pa.ArrowException, UnicodeDecodeError) as problem:  # a damaged page or column name may be no text
        raise error(f"{path}: damaged parquet: {one_line(problem)}") from problem


def _check_columns(found: pa.Schema, wanted: pa.Schema, path: Path, error: type[MRBError]) -> None:
    if not found.equals(wanted):
        columns = [", ".join(f"{field.name} {field.type}" for field in schema) for schema in (found, wanted)]
        raise error(f"{path}: columns {one_line(columns[0]) or 'none'}; wanted {columns[1]}")


def _check_stated(stated: pq.FileMetaData, max_bytes: int, path: Path, error: type[MRBError]) -> None:
    if stated.num_rows > MAX_ROWS:
        raise error(f"{path}: {stated.num_rows} rows, more than {MAX_ROWS}")
    unpacked = sum(stated.row_group(group).total_byte_size for group in range(stated.num_row_groups))
    if unpacked > max_bytes:
        raise error(f"{path}: {unpacked} bytes when unpacked, more than {max_bytes}")


def _check_texts(column: pa.ChunkedArray, where: str, error: type[MRBError]) -> None:
    for chunk in column.chunks:
        longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
        if longest > MAX_TEXT_BYTES:
            raise error(f"{where}: a text of {longest} bytes, more than {MAX_TEXT_BYTES}")
