"""Read untrusted Parquet files with size limits, so that a small file cannot fill memory.

With compression, dictionaries and shared prefixes, a file of a few kilobytes can expand to terabytes. So the length of
the footer and the sizes in it are checked before any page is read. Rows are then read in batches with text (and bytes)
as dictionaries, and their expanded size is counted against a limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mrb._util.files import compute_unpacked_limit
from mrb.errors import MRBError, to_one_line

MAX_FILE_BYTES = 4 * 1024**3
"""Limit of the file's size, and of the uncompressed size that its footer states."""
MAX_FOOTER_BYTES = 16 * 1024**2
"""Limit of the footer: schema, positions of all pages, and the file's metadata."""
MAX_ROWS = 50_000_000
MAX_TEXT_BYTES = 4096
"""Limit of one text: the tables read here only have ids and numbers."""
ROWS_READ = 32_768
_CODINGS = {"PLAIN", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "RLE", "BIT_PACKED"}
CELL_BYTES = 16
"""Size counted for each cell in addition to its text: empty rows take memory too."""


@contextmanager
def open_untrusted(
    path: Path, error: type[MRBError], *, max_bytes: int = MAX_FILE_BYTES, max_footer: int = MAX_FOOTER_BYTES
) -> Iterator[pq.ParquetFile]:
    """Open the Parquet file at `path` after checking its size, the length of its footer and the sizes in it.

    Raises `error`, which names the file and what is wrong (unreadable, damaged, too large), also for errors when the
    block reads from the file.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise error(f"{path}: larger than {max_bytes} bytes")
        _check_footer(path, max_footer, error)
        with pq.ParquetFile(path) as file:
            _check_stated(file.metadata, max_bytes, compute_unpacked_limit(size), path, error)
            yield file
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror or to_one_line(problem)}") from problem
    except (pa.ArrowException, UnicodeDecodeError) as problem:  # a damaged column name may be invalid UTF-8
        raise error(f"{path}: damaged parquet: {to_one_line(problem)}") from problem


def read_untrusted(
    path: Path, schema: pa.Schema, error: type[MRBError], *, max_bytes: int = MAX_FILE_BYTES, threads: bool = True
) -> pa.Table:
    """Read the table in the file `path`, which must have exactly the columns of `schema`; keeps the file's metadata.

    Without `threads` Arrow uses one thread only: stacks of several may exceed a memory limit. Raises `error`, which
    names the file and what is wrong: unreadable, damaged, other columns, too large.
    """
    with open_untrusted(path, error, max_bytes=max_bytes) as file:
        found = file.schema_arrow
        _check_columns(found, schema, path, error)
        wanted = schema.with_metadata(found.metadata)
        batches = read_batches(file, schema.names, path, error, threads=threads)
        return pa.concat_tables([wanted.empty_table(), *(batch.cast(wanted) for batch in batches)])


def read_batches(
    file: pq.ParquetFile, names: Sequence[str], path: Path, error: type[MRBError], *, threads: bool = True
) -> Iterator[pa.Table]:
    """Yield batches of the columns `names` of a file from `open_untrusted`, with text as dictionaries.

    Raises `error` if a column is missing, there twice or nested, a text is too long, or the content is larger than a
    file of this size may have.
    """
    kinds = {name: _get_kind(file.schema_arrow, name, path, error) for name in names}
    texts = [name for name, kind in kinds.items() if _is_text(kind)]
    _check_coding(file.metadata, texts, path, error)
    left = limit = compute_unpacked_limit(path.stat().st_size)
    with pq.ParquetFile(path, metadata=file.metadata, read_dictionary=texts) as reading:
        for batch in reading.iter_batches(ROWS_READ, columns=list(names), use_threads=threads):
            batch.validate(full=True)
            left -= batch.num_rows * CELL_BYTES * len(kinds)
            left -= sum(_estimate_unpacked(batch.column(name), f"{path}: column {name}", error) for name in texts)
            if left < 0:
                raise error(f"{path}: more than {limit} bytes when unpacked, too much for a file of its size")
            yield pa.Table.from_batches([batch])


def _check_footer(path: Path, max_footer: int, error: type[MRBError]) -> None:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - 8, 0))
        stated = int.from_bytes(file.read(4), "little")
    if max_footer < stated < size:
        raise error(f"{path}: a footer of {stated} bytes, more than {max_footer}")


def _get_kind(schema: pa.Schema, name: str, path: Path, error: type[MRBError]) -> pa.DataType:
    """Return the type of a column (of its values, if it is a dictionary). `error` unless it has one value per row."""
    places = schema.get_all_field_indices(name)
    if len(places) != 1:
        raise error(f"{path}: {f'{len(places)} columns' if places else 'no column'} {name}; wanted one")
    kind = schema.field(places[0]).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_nested(kind):
        raise error(f"{path}: column {name} holds {to_one_line(kind, 80)}; wanted one value a row")
    return kind


def _is_text(kind: pa.DataType) -> bool:
    return any(
        test(kind)
        for test in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_binary_view,
        )
    )


def _check_coding(stated: pq.FileMetaData, texts: Sequence[str], path: Path, error: type[MRBError]) -> None:
    """Refuse delta-encoded text (shared prefixes): Arrow expands it instead of reading it as a dictionary."""
    groups = (stated.row_group(number) for number in range(stated.num_row_groups))
    for column in (group.column(number) for group in groups for number in range(stated.num_columns)):
        if column.path_in_schema in texts and (coding := sorted(set(column.encodings) - _CODINGS)):
            raise error(
                f"{path}: column {column.path_in_schema} is coded as {coding[0]}; write its texts plain or with a "
                "dictionary"
            )


def _check_columns(found: pa.Schema, wanted: pa.Schema, path: Path, error: type[MRBError]) -> None:
    if not found.equals(wanted):
        columns = [", ".join(f"{field.name} {field.type}" for field in schema) for schema in (found, wanted)]
        raise error(f"{path}: columns {to_one_line(columns[0]) or 'none'}; wanted {columns[1]}")


def _check_stated(stated: pq.FileMetaData, max_bytes: int, limit: int, path: Path, error: type[MRBError]) -> None:
    if stated.num_rows > MAX_ROWS:
        raise error(f"{path}: {stated.num_rows} rows, more than {MAX_ROWS}")
    if stated.num_rows * CELL_BYTES > limit:
        raise error(f"{path}: {stated.num_rows} rows, too many for a file of its size")
    unpacked = sum(stated.row_group(group).total_byte_size for group in range(stated.num_row_groups))
    if unpacked > min(max_bytes, limit):
        raise error(f"{path}: {unpacked} bytes when unpacked, more than {min(max_bytes, limit)}")


def _estimate_unpacked(column: pa.Array, where: str, error: type[MRBError]) -> int:
    """Return the expanded size in bytes of a dictionary column. `error` if a text is too long."""
    lengths = pc.binary_length(column.dictionary)
    longest = pc.max(lengths).as_py() or 0
    if longest > MAX_TEXT_BYTES:
        raise error(f"{where}: a text of {longest} bytes, more than {MAX_TEXT_BYTES}")
    return int(pc.sum(lengths.take(column.indices)).as_py() or 0)
