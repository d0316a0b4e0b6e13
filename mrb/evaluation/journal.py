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

from mrb._util.files import open_atomically
from mrb._util.model import Model
from mrb.data.task_fields import Sha256
from mrb.errors import ResultError, format_first_problem

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


class Journal:
    """The journal of one task. It is read once, when the object is made; `open` prepares it for `append`.

    `header` is None if the file is missing, empty, or its first write is incomplete. `records` are in the file's order.
    `scores` maps a query id to the float32 scores of first-stage positions 0, 1, ...; both grow with `append`.

    Raises:
        ResultError: The file cannot be read, is not a journal, is damaged before its end (names the byte), or the
            records of a query leave a gap.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: Header | None = None
        self.records: list[Record] = []
        self.scores: dict[str, Float32] = {}
        self._end = 0
        self._file: BinaryIO | None = None
        self._read()

    def open(self, header: Header) -> Self:
        """Create the file if it has no header, cut off an incomplete end, and open it for `append` in a `with` block.

        Raises:
            ResultError: The file cannot be written, or holds scores under another score key.
        """
        if self.header is not None and self.header.score_key != header.score_key:
            raise ResultError(f"{self.path}: holds scores under another score key; `--fresh` starts over")
        try:
            if self.header is None:
                write_journal(self.path, header, ())
                self.header = header
            else:
                _cut(self.path, self._end)
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error
        self._end = self._file.tell()
        self._synced = time.monotonic()
        return self

    def renew(self, header: Header) -> None:
        """Replace the header and keep the records; the file is rewritten atomically."""
        write_journal(self.path, header, self.records)
        self.header, self._end = header, self.path.stat().st_size

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
            if self._file is not None:
                self._file.close()

    def append(self, record: Record) -> None:
        """Append one record with a single write, so that a crash leaves at most one incomplete record, at the end.

        The record is in the file when this returns. It is on disk after `sync`, which this calls when the last one is
        more than `SYNC_SECONDS` ago, and at the end of the `with` block. A partial write (disk full) is truncated, so
        that no record ever follows an incomplete one.

        Raises:
            ResultError: The query id is longer than MAX_ID_BYTES, the record leaves a gap, or the file cannot be
                written.
        """
        assert self._file is not None, "open the journal before appending"
        self._check_position(record)
        frame = _pack_frame(_pack_record(self.path, record))
        try:
            written = self._file.write(frame)
            if written != len(frame):
                self._file.truncate(self._end)
                raise OSError(errno.ENOSPC, f"no space left, the disk took {written} of {len(frame)} bytes")
        except OSError as error:
            raise self._unwritable(error) from error
        self._end += len(frame)
        self._add(record)
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Flush every appended record to disk (fsync)."""
        assert self._file is not None
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error
        self._synced = time.monotonic()

    def _read(self) -> None:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ResultError(f"{self.path}: cannot be read: {error.strerror}") from error
        if len(data) < len(MAGIC) and MAGIC.startswith(data):
            return
        if not data.startswith(MAGIC):
            raise ResultError(f"{self.path}: not a journal of this version of MRB; `--fresh` starts over")
        self._end = len(MAGIC)
        for payload, after in _iterate_frames(self.path, data):
            if self.header is None:
                self.header = _parse_header(self.path, payload)
            else:
                record = _parse_record(self.path, payload, self._end)
                self._check_position(record)
                self._add(record)
            self._end = after

    def _check_position(self, record: Record) -> None:
        count = len(self.scores.get(record.query_id, ()))
        if record.first != count:
            raise ResultError(
                f"{self.path}: query {record.query_id!r} continues at position {record.first}, not {count}"
            )

    def _add(self, record: Record) -> None:
        before = self.scores.get(record.query_id)
        self.records.append(record)
        self.scores[record.query_id] = record.scores if before is None else np.concatenate([before, record.scores])

    def _unwritable(self, error: OSError) -> ResultError:
        return ResultError(f"{self.path}: cannot be written: {error.strerror}; run again, what it holds is not lost")


def write_journal(path: Path, header: Header, records: Iterable[Record]) -> None:
    """Replace the journal atomically by one with this header and these records."""
    with open_atomically(path) as file:
        file.write(MAGIC + _pack_frame(header.model_dump_json().encode()))
        for record in records:
            file.write(_pack_frame(_pack_record(path, record)))


def _pack_record(path: Path, record: Record) -> bytes:
    encoded = record.query_id.encode()
    if len(encoded) > MAX_ID_BYTES:
        raise ResultError(f"{path}: a query id of {len(encoded)} bytes, at most {MAX_ID_BYTES} fit")
    head = _ID_LENGTH.pack(len(encoded)) + encoded + _FIRST.pack(record.first)
    return head + record.scores.astype("<f4").tobytes()


def _iterate_frames(path: Path, data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield (payload, offset after it) of each complete frame; stop at an incomplete end, raise for damage before
    it."""
    view = memoryview(data)
    at = len(MAGIC)
    while len(data) - at >= _HEAD.size:
        length, payload_crc, head_crc = _HEAD.unpack_from(data, at)
        if zlib.crc32(view[at : at + 8]) != head_crc or length > MAX_PAYLOAD:
            if not any(view[at + _HEAD.size :]):
                return  # an incomplete head: a power loss may leave the rest of its blocks filled with zeros
            raise _make_damage_error(path, at)
        start, after = at + _HEAD.size, at + _HEAD.size + length
        if after > len(data):
            return
        if zlib.crc32(view[start:after]) != payload_crc:
            if not any(view[after:]):
                return  # the last frame: its head reached the disk, its payload did not
            raise _make_damage_error(path, at)
        yield data[start:after], after
        at = after


def _pack_frame(payload: bytes) -> bytes:
    body = struct.pack("<II", len(payload), zlib.crc32(payload))
    return body + struct.pack("<I", zlib.crc32(body)) + payload


def _parse_header(path: Path, payload: bytes) -> Header:
    try:
        return Header.model_validate_json(payload)
    except ValidationError as error:
        raise ResultError(
            f"{path}: the header is invalid: {format_first_problem(error)}; `--fresh` starts over"
        ) from error


def _parse_record(path: Path, payload: bytes, at: int) -> Record:
    try:
        (length,) = _ID_LENGTH.unpack_from(payload)
        start = _ID_LENGTH.size + length
        query_id = payload[_ID_LENGTH.size : start].decode()
        (first,) = _FIRST.unpack_from(payload, start)
        scores = np.frombuffer(payload[start + _FIRST.size :], "<f4").astype(np.float32)
    except (struct.error, ValueError) as error:
        raise _make_damage_error(path, at) from error
    return Record(query_id, first, scores)


def _make_damage_error(path: Path, at: int) -> ResultError:
    return ResultError(f"{path}: damaged at byte {at}; restore the file from a copy, or `--fresh` starts over")


def _cut(path: Path, end: int) -> None:
    if path.stat().st_size != end:
        with path.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())
