"""Access to single rows of a file of groups: the lines of JSON lines by their offsets, Parquet by its row groups."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mrb._util.files import load_json
from mrb._util.hashing import hash_file
from mrb._util.parquet import open_untrusted
from mrb.errors import TrainingError, to_one_line

Form = Literal["jsonl", "parquet"]
Starts = npt.NDArray[np.int64]

MAX_ROW_BYTES = 256 * 1024 * 1024
"""Limit of a line, and of a row group when unpacked: a Parquet row is read with its row group."""
MAX_FOOTER_BYTES = 128 * 1024 * 1024
"""Images make groups large, so a file has many small row groups, and a large footer."""
ROWS_AT_ONCE = 64
STRETCH_BYTES = 16 * 1024 * 1024
STRETCH_ROWS = 1024


def find_form(path: Path) -> Form:
    """Return the format by the file's suffix. Raises TrainingError for another suffix."""
    if path.suffix == ".jsonl":
        return "jsonl"
    if path.suffix == ".parquet":
        return "parquet"
    raise TrainingError(f"{path}: a file of groups ends in .jsonl or .parquet")


def find_starts(path: Path) -> tuple[Starts, str]:
    """Read a file of groups once.

    Returns:
        Where its rows start, int64[rows + 1] with the end at last: offsets in bytes of the lines that are not blank, or
        for Parquet the number of each row group's first row. And the SHA-256 of the file.

    Raises:
        TrainingError: It is not of its format, or a row is too long to be read.
    """
    if find_form(path) == "parquet":
        return find_row_groups(path), hash_file(path)
    starts: list[int] = []
    digest, at = hashlib.sha256(), 0
    with path.open("rb") as file:
        while line := file.readline(MAX_ROW_BYTES + 1):
            if len(line) > MAX_ROW_BYTES:
                raise TrainingError(f"{path}, row {len(starts) + 1}: longer than {MAX_ROW_BYTES} bytes")
            digest.update(line)
            if line.strip():
                starts.append(at)
            at += len(line)
    return np.asarray([*starts, at], np.int64), digest.hexdigest()


def find_row_groups(path: Path) -> Starts:
    """Return the number of the first row of each row group of a Parquet file, and the number of rows at last."""
    with open_untrusted(path, TrainingError, max_bytes=sys.maxsize, max_footer=MAX_FOOTER_BYTES) as file:
        stated = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    for number, group in enumerate(stated, start=1):
        if group.total_byte_size > MAX_ROW_BYTES:
            raise _refuse_large(path, number)
    return np.cumsum([0, *(group.num_rows for group in stated)], dtype=np.int64)


def _refuse_large(path: Path, number: int) -> TrainingError:
    return TrainingError(
        f"{path}: row group {number} has more than {MAX_ROW_BYTES} bytes when unpacked, and a row is read with its row "
        f"group: write the file with small ones (row_group_size={ROWS_AT_ONCE} in pyarrow)"
    )


class JsonRows:
    """The lines of a file, or a stretch of them: row `first` starts at `starts[0]`."""

    def __init__(self, path: Path, starts: Starts, first: int = 0) -> None:
        self.path = path
        self.starts = starts
        self.first = first

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> Mapping[str, Any]:
        start, end = self.starts[row - self.first : row - self.first + 2].tolist()
        with self.path.open("rb") as file:
            file.seek(start)
            line = file.read(end - start)
        try:
            content = load_json(line)
        except ValueError as error:
            raise TrainingError(f"{self.path}, row {row + 1}: not JSON: {to_one_line(error)}") from error
        if not isinstance(content, dict):
            raise TrainingError(f"{self.path}, row {row + 1}: not a JSON object")
        return content

    def cut(self) -> Iterator[tuple[range, Starts]]:
        """Yield stretches of rows of about the same size in bytes, with where their rows start."""
        at = 0
        while at < len(self):
            end = int(np.searchsorted(self.starts, self.starts[at] + STRETCH_BYTES))
            end = min(max(end, at + 1), at + STRETCH_ROWS, len(self))
            yield range(at, end), self.starts[at : end + 1]
            at = end


class ParquetRows:
    """The rows of a Parquet file; the row group that was read last is kept."""

    def __init__(self, path: Path, starts: Starts) -> None:
        self.path = path
        self.starts = starts
        self._metadata: pq.FileMetaData | None = None
        self._held: tuple[int, pa.Table] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_metadata": None, "_held": None}

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, row: int) -> Mapping[str, Any]:
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        if self._held is None or self._held[0] != number:
            self._held = number, self._read(number)
        found: Mapping[str, Any] = self._held[1].slice(row - int(self.starts[number]), 1).to_pylist()[0]
        return found

    def _read(self, number: int) -> pa.Table:
        """Return a row group. The file is opened each time: data loaders fork, and an open file has one position."""
        left, batches = MAX_ROW_BYTES, []
        try:
            with pq.ParquetFile(self.path, metadata=self._metadata) as file:
                self._metadata = file.metadata
                for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[number], use_threads=False):
                    left -= batch.nbytes
                    if left < 0:
                        raise _refuse_large(self.path, number + 1)
                    batches.append(batch)
            return pa.Table.from_batches(batches)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise TrainingError(f"{self.path}: cannot be read: {to_one_line(error)}") from error

    def cut(self) -> Iterator[tuple[range, None]]:
        """Yield stretches of whole row groups."""
        at = 0
        for end in self.starts[1:].tolist():
            if end - at >= ROWS_AT_ONCE or (end == len(self) and at < end):
                yield range(at, end), None
                at = end


def open_rows(path: Path, starts: Starts | None = None, first: int = 0) -> JsonRows | ParquetRows:
    """Return the rows of a file; `starts` and `first` are of `JsonRows`, if they are known."""
    if find_form(path) == "parquet":
        return ParquetRows(path, find_row_groups(path) if starts is None else starts)
    return JsonRows(path, find_starts(path)[0] if starts is None else starts, first)
