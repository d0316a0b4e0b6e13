"""The crash-safe journal of a task's scores: append-only, checksummed, one record per scored query.

`docs/design/journal.md` states what a crash may leave and what is guaranteed. In short: a record is used only if its
checksum is correct. An incomplete end (a crash during a write) is cut off and scored again. Damage before the end is an
error that names the byte.

Layout: the 8 bytes `MRBJRNL1`, then frames. A frame is a 12-byte head (payload length, CRC-32 of the payload, CRC-32
of these two; little-endian uint32) and the payload. The first frame is the header (JSON). Every other frame holds
scores: uint16 length of the query id, the id in UTF-8, uint32 first position, then float32 scores of consecutive
first-stage positions.
"""

from __future__ import annotations

import errno
import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from mrb._util.files import atomic_writer
from mrb.data.task import Model, Sha256
from mrb.errors import ResultError, first_problem

MAGIC = b"MRBJRNL1"
SYNC_SECONDS = 2.0
MAX_PAYLOAD = 16 * 1024 * 1024
MAX_ID_BYTES = 0xFFFF
_HEAD = struct.Struct("<III")
_ID_LENGTH = struct.Struct("<H")
_FIRST = struct.Struct("<I")

Float32 = npt.NDArray[np.float32]


class Header(Model):
    """What the scores belong to.

    `score_key` decides whether a run may continue the journal. The rest is for messages and for `mrb merge`, which
    refuses shards of different `source_sha256` or `packages`.
    """

    schema_version: Literal[1] = 1
    score_key: Sha256
    task: str
    reranker: str
    source_sha256: Sha256 | None
    packages: dict[str, str]


@dataclass(frozen=True)
class Record:
    """Scores of one query's candidates at first-stage positions `first`, `first + 1`, ... (0 is the best)."""

    query_id: str
    first: int
    scores: Float32


@dataclass(frozen=True)
class Replay:
    """Content of a journal: header (None if the file is empty or its first write is incomplete), records, and the
    byte offset of their end."""

    header: Header | None
    records: list[Record]
    end: int


def replay(path: Path) -> Replay:
    """Read a journal. An incomplete end is left out; a missing file has no header and no records.

    Raises:
        ResultError: The file cannot be read, is not a journal, or is damaged before its end (names the byte).
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Replay(None, [], 0)
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) < len(MAGIC) and MAGIC.startswith(data):
        return Replay(None, [], 0)
    if not data.startswith(MAGIC):
        raise ResultError(f"{path}: not a journal of this version of MRB; `--fresh` starts over")
    header: Header | None = None
    records: list[Record] = []
    end = len(MAGIC)
    for payload, after in _frames(path, data):
        if header is None:
            header = _header(path, payload)
        else:
            records.append(_record(path, payload, end))
        end = after
    return Replay(header, records, end)


class JournalWriter:
    """Appends records to a journal, which it creates if there is none.

    A record is in the file after `append`. It is on disk after `sync`, which `append` calls when the last one is more
    than `SYNC_SECONDS` ago, and at the end of the `with` block.

    Raises:
        ResultError: The file cannot be written, is damaged, or holds scores under another score key.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        found = replay(path)
        try:
            if found.header is None:
                with atomic_writer(path) as file:
                    file.write(MAGIC + _frame(header.model_dump_json().encode()))
            elif found.header.score_key != header.score_key:
                raise ResultError(f"{path}: holds scores under another score key; `--fresh` starts over")
            else:
                _cut(path, found.end)
            self._file: BinaryIO = path.open("ab", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error
        self._end = self._file.tell()
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.sync()
        except ResultError:
            if error is None:  # otherwise keep the first error, which is the cause
                raise
        finally:
            self._file.close()

    def append(self, record: Record) -> None:
        """Append one record with a single write, so that a crash leaves at most one incomplete record, at the end.

        A partial write (disk full) is truncated, so that no record ever follows an incomplete one.

        Raises:
            ResultError: The query id is longer than MAX_ID_BYTES, or the file cannot be written.
        """
        length = len(record.query_id.encode())
        if length > MAX_ID_BYTES:
            raise ResultError(f"{self.path}: a query id of {length} bytes, at most {MAX_ID_BYTES} fit")
        frame = _frame(_payload(record))
        try:
            written = self._file.write(frame)
            if written != len(frame):
                self._file.truncate(self._end)
                raise OSError(errno.ENOSPC, f"no space left, the disk took {written} of {len(frame)} bytes")
        except OSError as error:
            raise self._unwritable(error) from error
        self._end += len(frame)
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Flush every appended record to disk (fsync)."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error
        self._synced = time.monotonic()

    def _unwritable(self, error: OSError) -> ResultError:
        return ResultError(f"{self.path}: cannot be written: {error.strerror}; run again, what it holds is not lost")


def rewrite(path: Path, header: Header, records: Iterable[Record]) -> None:
    """Replace the journal atomically by one with this header and these records."""
    with atomic_writer(path) as file:
        file.write(MAGIC + _frame(header.model_dump_json().encode()))
        for record in records:
            file.write(_frame(_payload(record)))


def _payload(record: Record) -> bytes:
    encoded = record.query_id.encode()
    head = _ID_LENGTH.pack(len(encoded)) + encoded + _FIRST.pack(record.first)
    return head + record.scores.astype("<f4").tobytes()


def _frames(path: Path, data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield (payload, offset after it) of each complete frame; stop at an incomplete end, raise for damage before
    it."""
    view = memoryview(data)
    at = len(MAGIC)
    while len(data) - at >= _HEAD.size:
        length, payload_crc, head_crc = _HEAD.unpack_from(data, at)
        if zlib.crc32(view[at : at + 8]) != head_crc or length > MAX_PAYLOAD:
            if not any(view[at + _HEAD.size :]):
                return  # an incomplete head: a power loss may leave the rest of its blocks filled with zeros
            raise _damaged(path, at)
        start, after = at + _HEAD.size, at + _HEAD.size + length
        if after > len(data):
            return
        if zlib.crc32(view[start:after]) != payload_crc:
            if not any(view[after:]):
                return  # the last frame: its head reached the disk, its payload did not
            raise _damaged(path, at)
        yield data[start:after], after
        at = after


def _frame(payload: bytes) -> bytes:
    body = struct.pack("<II", len(payload), zlib.crc32(payload))
    return body + struct.pack("<I", zlib.crc32(body)) + payload


def _header(path: Path, payload: bytes) -> Header:
    try:
        return Header.model_validate_json(payload)
    except ValidationError as error:
        raise ResultError(f"{path}: the header does not fit: {first_problem(error)}; `--fresh` starts over") from error


def _record(path: Path, payload: bytes, at: int) -> Record:
    try:
        (length,) = _ID_LENGTH.unpack_from(payload)
        start = _ID_LENGTH.size + length
        query_id = payload[_ID_LENGTH.size : start].decode()
        (first,) = _FIRST.unpack_from(payload, start)
        scores = np.frombuffer(payload[start + _FIRST.size :], "<f4").astype(np.float32)
    except (struct.error, ValueError) as error:
        raise _damaged(path, at) from error
    return Record(query_id, first, scores)


def _damaged(path: Path, at: int) -> ResultError:
    return ResultError(f"{path}: damaged at byte {at}; restore the file from a copy, or `--fresh` starts over")


def _cut(path: Path, end: int) -> None:
    if path.stat().st_size != end:
        with path.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())
