"""The crash-safe record of a task's scores: append-only, checksummed, one record per scored query.

`docs/design/journal.md` states what may be found after a crash and what is promised. In short: a record counts when
its checksum holds; a torn end (a crash in mid write) is cut off and scored again; damage before the end is an error
that names its place; a record is never half believed.

Layout: the 8 bytes `MRBJRNL1`, then frames. A frame is a 12-byte head (payload length, CRC-32 of the payload, CRC-32
of these two; little-endian uint32) and the payload. The first frame is the header (JSON); every other holds scores:
uint16 length of the query id, the id in UTF-8, uint32 first position, then float32 scores of consecutive first-stage
positions.
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
    """What the scores belong to. `score_key` decides whether they may be continued; the rest is for messages."""

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
    """A journal's content: its header (None for an empty or torn-at-birth file), records, and where they end."""

    header: Header | None
    records: list[Record]
    end: int


def replay(path: Path) -> Replay:
    """Read a journal. A torn end is left out; damage before the end is a ResultError that names the byte."""
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
    """Appends records to a journal. Records are in the file after `append`; on disk after `sync`, at most
    `SYNC_SECONDS` later, and at the end of the `with` block."""

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
            if error is None:  # else the first error says more
                raise
        finally:
            self._file.close()

    def append(self, record: Record) -> None:
        """Add one record with a single write, so that a crash leaves whole records and at most one torn end.

        A write that the disk takes in part only is taken back, so that nothing is ever written behind a torn record.
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
        """Put every record that was appended on the disk."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error
        self._synced = time.monotonic()

    def _unwritable(self, error: OSError) -> ResultError:
        return ResultError(f"{self.path}: cannot be written: {error.strerror}; run again, what it holds is not lost")


def rewrite(path: Path, header: Header, records: Iterable[Record]) -> None:
    """Write the journal anew under another header, whole or not at all."""
    with atomic_writer(path) as file:
        file.write(MAGIC + _frame(header.model_dump_json().encode()))
        for record in records:
            file.write(_frame(_payload(record)))


def _payload(record: Record) -> bytes:
    encoded = record.query_id.encode()
    head = _ID_LENGTH.pack(len(encoded)) + encoded + _FIRST.pack(record.first)
    return head + record.scores.astype("<f4").tobytes()


def _frames(path: Path, data: bytes) -> Iterator[tuple[bytes, int]]:
    """(payload, offset after it) of every whole frame; stops at a torn end, refuses damage before it."""
    view = memoryview(data)
    at = len(MAGIC)
    while len(data) - at >= _HEAD.size:
        length, payload_crc, head_crc = _HEAD.unpack_from(data, at)
        if zlib.crc32(view[at : at + 8]) != head_crc or length > MAX_PAYLOAD:
            if not any(view[at + _HEAD.size :]):
                return  # a torn head: a power loss may leave the rest of its blocks zero-filled
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
