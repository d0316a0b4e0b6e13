"""Write files atomically, and read JSON and TOML with size limits."""

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

from mrb._util.redact import redact
from mrb.errors import MRBError, ResultError, to_one_line

if TYPE_CHECKING:
    import numpy.typing as npt

MAX_JSON_BYTES = 64 * 1024 * 1024
_UNPACKED_BYTES = 256 * 1024 * 1024
_UNPACKED_TIMES = 64
_PIECE_BYTES = 1024 * 1024
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
UNWRITABLE = DISK_FULL | {errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
"""Error codes of the system for a file that cannot be written; another folder or more space may help."""
# On Windows these names open a device, with any suffix and in any case. Files are shared between systems.
_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])(\..*)?", re.IGNORECASE)


@contextmanager
def open_atomically(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a binary file that replaces `path` only when the block ends without an error.

    The temporary file is in the same folder (a rename is atomic only within a file system). It is fsynced and renamed,
    and the folder is fsynced, so that the file survives a power loss. On an error the temporary file is removed and
    `path` is unchanged. The block should only write: an OSError in it (a full disk, a read-only folder) becomes a
    ResultError.

    With `durable=False` nothing is fsynced, for thousands of files that the command can make again. They are still
    renamed as a whole, but a power loss soon after may leave one empty.
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
    """Write `data` to `path` atomically; `durable` as for `open_atomically`."""
    with open_atomically(path, durable=durable) as file:
        file.write(data)


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array as `.npy` atomically, with the same bytes as `numpy.save`.

    `numpy.save` itself bypasses the file object, and its error does not say that the disk is full.
    """
    from numpy.lib import format as npy

    values = array if array.flags.c_contiguous else array.copy()
    with open_atomically(path) as file:
        npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(values))
        file.write(values.data)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented UTF-8 JSON with a final newline; ValueError for NaN and infinities.

    Every record is written by this function, which replaces secrets, absolute paths and the host name
    (`mrb._util.redact`).
    """
    write_bytes(path, (json.dumps(redact(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path, *, limit: int = MAX_JSON_BYTES) -> Any:
    """Read the JSON value in `path`. ResultError for a file over `limit` bytes, duplicate keys, NaN or an infinity."""
    return parse_json(read_limited(path, limit), path)


def read_limited(path: Path, limit: int) -> bytes:
    """Return the bytes of `path`. ResultError if it cannot be read or has more than `limit` bytes."""
    try:
        with path.open("rb") as file:
            return read_all(file, path, limit)
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error.strerror}") from error


def read_all(file: BinaryIO, path: Path, limit: int) -> bytes:
    """Return the rest of `file`, which is open at `path`. ResultError for more than `limit` bytes.

    Reads in pieces, because `read(n)` allocates n bytes at once.
    """
    pieces: list[bytes] = []
    left = limit + 1
    while left and (piece := file.read(min(left, _PIECE_BYTES))):
        pieces.append(piece)
        left -= len(piece)
    if not left:
        raise ResultError(f"{path}: more than {limit} bytes of JSON")
    return b"".join(pieces)


def compute_unpacked_limit(size: int) -> int:
    """Return the most bytes to which a file of `size` bytes may decompress, so that a small one cannot fill memory."""
    return _UNPACKED_BYTES + _UNPACKED_TIMES * size


def parse_json(data: bytes, path: Path) -> Any:
    """Parse JSON that was read from `path`. ResultError if it is invalid (`load_json`)."""
    try:
        return load_json(data)
    except ValueError as error:
        raise ResultError(f"{path}: not valid JSON: {to_one_line(error)}") from error


def load_json(data: bytes) -> Any:
    """Parse JSON. ValueError: not JSON, a duplicate key, NaN or an infinity, nested too deeply, a number with more
    digits than Python reads, half of a surrogate pair (which UTF-8 cannot encode)."""
    try:
        text = data.decode(json.detect_encoding(data))  # `json.loads` accepts half of a surrogate pair
        value = json.loads(
            text,
            object_pairs_hook=_refuse_repeated_keys,
            parse_constant=_refuse_constant,
            parse_float=_parse_finite_float,
        )
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{error.object[error.start]!a} is half of a character") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML. ValueError: not TOML, nested too deeply, or a number with more digits than Python reads."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def is_device_name(name: str) -> bool:
    """Return whether Windows reserves this file name for a device."""
    return _DEVICES.fullmatch(name) is not None


def check_run_name(name: str | None) -> str | None:
    """Return the name of a run's folder as given.

    Raises:
        MRBError: It has other characters than letters, digits, '.', '_' and '-', starts with one of the last three, or
            is a reserved device name on Windows.
    """
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", name):
        raise MRBError(f"--name {name}: wanted letters, digits, '.', '_', '-', starting with a letter or digit")
    if name is not None and is_device_name(name):
        raise MRBError(f"--name {name}: it is a reserved device name on Windows")
    return name


def name_run(name: str, candidate_set: str | None) -> str:
    """Return the name of the folder of a run on a candidate set: `NAME--SET`; NAME alone without a set."""
    return name if candidate_set is None else f"{name}--{re.sub(r'[^A-Za-z0-9._-]', '-', candidate_set)}"


def fsync_folder(folder: Path) -> None:
    """Fsync `folder`, so that new names in it survive a power loss. Does nothing where folders cannot be opened
    (Windows)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(temporary: Path) -> None:
    with suppress(OSError):  # the first error is the one to report
        temporary.unlink(missing_ok=True)


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        counted = Counter(name for name, _ in pairs)
        twice, _ = counted.most_common(1)[0]
        raise ValueError(f"the key {to_one_line(repr(twice), limit=80)} occurs twice in one object")
    return value


def _parse_finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{to_one_line(text, limit=40)} is larger than any number that MRB holds")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number that JSON knows")
