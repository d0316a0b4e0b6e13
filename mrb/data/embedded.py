"""Embedded data is checked when it is read: a damaged file is refused by name, before anything is scored on it."""

from __future__ import annotations

import hashlib
import io
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mrb._util.files import read_json, write_bytes
from mrb._util.hashing import canonical_json, sha256_bytes, sha256_file, sha256_json
from mrb.data.task import Part, Table, Task
from mrb.errors import DataError, MRBError, one_line
from mrb.hub.manifest import cache_root

CONTENTS = "checksums.json"
"""What the build recorded: for each table the hash over its rows and decoded pixels."""
FILES = "files.json"
"""The SHA-256 of each file that ships. Hashing a file takes milliseconds, its pixels seconds."""


def check_part(task: Task, part: Part, root: Path) -> None:
    """DataError if the recorded hashes of the part's tables are not those of the task's definition."""
    tables = {"corpus": part.corpus, "queries": part.queries, "qrels": part.qrels, "side": part.side}
    hashes = {name: _recorded(root, part, table) for name, table in tables.items() if table is not None}
    if sha256_json(hashes) != part.content:
        raise DataError(f"task {task.id}: {root / CONTENTS} is not that of the task's definition; install MRB again")


def check_file(task: Task, part: Part, table: Table, root: Path, path: Path) -> None:
    """DataError that names the file if its content is not the recorded one. A file that was built here, by other
    versions of the libraries, has other bytes: its rows and pixels are hashed once and remembered in MRB's cache."""
    stat = path.stat()
    digest = _digest(path, stat.st_size, stat.st_mtime_ns)
    wanted = _recorded(root, part, table)
    if _json(root / FILES).get(f"{part.repository}/{table.config}/{table.split}.parquet") == digest:
        return
    right = cache_root() / "embedded" / f"{digest[:32]}-{wanted[:32]}"
    if right.exists():
        return
    if content_hash(path, f"task {task.id}") != wanted:
        raise DataError(
            f"task {task.id}: {path} is damaged: its rows and images are not those of the task's definition; install "
            "MRB again"
        )
    with suppress(MRBError):  # a cache that cannot be written only means that it is hashed again
        write_bytes(right, b"")


def content_hash(path: Path, where: str) -> str:
    """The hash over rows and decoded pixels: neither compression nor the encoding of an image shows in it."""
    from PIL import Image

    digest = hashlib.sha256()
    try:
        for row in pq.read_table(path).to_pylist():
            pixels = ""
            if encoded := row.pop("image", None):
                image = Image.open(io.BytesIO(encoded["bytes"])).convert("RGBA")
                pixels = sha256_bytes(f"{image.mode} {image.width}x{image.height}\n".encode() + image.tobytes())
            digest.update(canonical_json(row) + b"\t" + pixels.encode() + b"\n")
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, SyntaxError) as error:
        raise DataError(f"{where}: {path} is damaged: {one_line(error, 120)}; install MRB again") from error
    return digest.hexdigest()


def _recorded(root: Path, part: Part, table: Table) -> str:
    found = _json(root / CONTENTS).get("tables", {}).get(f"{part.repository}/{table.config}/{table.split}", {})
    return str(found.get("sha256", ""))


@cache
def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(path)
    return found


@cache
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    return sha256_file(path)
