"""Reading and writing files: whole or not at all, and never more than a stated size."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import secrets
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mrb._util.redact import redacted
from mrb.errors import ResultError, one_line

if TYPE_CHECKING:
    import numpy.typing as npt

MAX_JSON_BYTES = 64 * 1024 * 1024
_UNPACKED_BYTES = 256 * 1024 * 1024
_UNPACKED_TIMES = 64
_PIECE_BYTES = 1024 * 1024
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
UNWRITABLE = DISK_FULL | {errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
"""What the system says where a file cannot be written; the same command may work with more room or another folder."""
# Windows opens a device for these, with any suffix and in any case; files are shared between systems.
_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])(\..*)?", re.IGNORECASE)


@contextmanager
def atomic_writer(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A binary file that appears at `path` only when the block ends without an error.

    Written beside `path` (a rename is atomic within one file system only), fsynced, renamed, and the folder fsynced so
    that the name survives a power loss too. On any error the temporary file is removed and `path` is as it was. The
    block should do nothing but write: an OSError in it (a full disk, a read-only folder) becomes a ResultError.

    Not `durable`: without waiting for the disk, for thousands of files that the same command makes again. They still
    appear whole, but a power loss soon after may leave one empty.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            fsync_folder(path.parent)
    except OSError as error:
        _remove(temporary)
        raise ResultError(f"{path}: cannot be written: {error.strerror or error}") from error
    except BaseException:
        _remove(temporary)
        raise


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write `data` to `path`, whole or not at all; `durable` as for `atomic_writer`."""
    with atomic_writer(path, durable=durable) as file:
        file.write(data)


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """An array as `.npy`, in the bytes of `numpy.save`, whole or not at all.

    `numpy.save` writes past the file object, and then says of a full disk how much it wrote, but not that it is full.
    """
    from numpy.lib import format as npy

    values = array if array.flags.c_contiguous else array.copy()
    with atomic_writer(path) as file:
        npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(values))
        file.write(values.data)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented UTF-8 JSON with a final newline; NaN and infinities are refused (ValueError).

    Secrets, absolute paths and this machine's name are replaced (`mrb._util.redact`): every record is written here.
    """
    write_bytes(path, (json.dumps(redacted(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path, *, limit: int = MAX_JSON_BYTES) -> Any:
    """The JSON value in `path`. Files over `limit` bytes, duplicate keys, NaN and infinities are refused by name."""
    return parse_json(read_limited(path, limit), path)


def read_limited(path: Path, limit: int) -> bytes:
    """The bytes of `path`; ResultError if it cannot be read or holds more than `limit`."""
    try:
        with path.open("rb") as file:
            return read_all(file, path, limit)
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error.strerror}") from error


def read_all(file: BinaryIO, path: Path, limit: int) -> bytes:
    """What is left in `file`, which is that at `path`; ResultError for more than `limit` bytes.

    In pieces: Python takes memory for as many bytes as are asked for.
    """
    pieces: list[bytes] = []
    left = limit + 1
    while left and (piece := file.read(min(left, _PIECE_BYTES))):
        pieces.append(piece)
        left -= len(piece)
    if not left:
        raise ResultError(f"{path}: more than {limit} bytes of JSON")
    return b"".join(pieces)


def unpacked_limit(size: int) -> int:
    """The most bytes to which a file of `size` bytes may unpack: a small one no further than memory holds."""
    return _UNPACKED_BYTES + _UNPACKED_TIMES * size


def parse_json(data: bytes, path: Path) -> Any:
    """The JSON value in `data`, which was read from `path`, under the rules of `read_json`."""
    try:
        return load_json(data)
    except ValueError as error:
        raise ResultError(f"{path}: not valid JSON: {one_line(error)}") from error


def load_json(data: bytes) -> Any:
    """The JSON value in `data`. ValueError: not JSON, a duplicate key, NaN or an infinity, nested too deeply, a number
    with more digits than Python reads, half of a surrogate pair (which no UTF-8 file can hold)."""
    try:
        text = data.decode(json.detect_encoding(data))  # `json.loads` would let half of a pair through
        value = json.loads(
            text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_finite_float
        )
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{error.object[error.start]!a} is half of a character") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def parse_toml(text: str) -> dict[str, Any]:
    """The TOML in `text`. ValueError: not TOML, nested too deeply, or a number with more digits than Python reads."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def is_device_name(name: str) -> bool:
    """Whether Windows keeps this file name for a device."""
    return _DEVICES.fullmatch(name) is not None


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable. A platform that cannot open a folder (Windows) keeps its own promise."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(temporary: Path) -> None:
    with suppress(OSError):  # the error that led here says more than this one would
        temporary.unlink(missing_ok=True)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        counted = Counter(name for name, _ in pairs)
        twice, _ = counted.most_common(1)[0]
        raise ValueError(f"the key {one_line(repr(twice), limit=80)} stands twice in one object")
    return value


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{one_line(text, limit=40)} is larger than any number that MRB holds")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number that JSON knows")
