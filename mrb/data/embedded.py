"""Check embedded data when it is read. A damaged file is refused by name before anything is scored."""

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
from mrb._util.hashing import dump_canonical_json, hash_bytes, hash_file, hash_json
from mrb.data.task import Task
from mrb.data.task_fields import Part, Table
from mrb.errors import DataError, MRBError, to_one_line
from mrb.hub.manifest import find_cache_root

CONTENTS = "checksums.json"
"""Written by the build: for each table the SHA-256 over its rows and decoded pixels."""
FILES = "files.json"
"""The SHA-256 of each shipped file. Hashing a file takes milliseconds; hashing its pixels takes seconds."""


def check_part(task: Task, part: Part, root: Path) -> None:
    """Raise DataError if the recorded hashes of the part's tables differ from the task's definition."""
    tables = {"corpus": part.corpus, "queries": part.queries, "qrels": part.qrels, "side": part.side}
    hashes = {name: _read_hashes(root, part, table) for name, table in tables.items() if table is not None}
    if hash_json(hashes) != part.content:
        raise DataError(f"task {task.id}: {root / CONTENTS} is not that of the task's definition; install MRB again")


def check_file(task: Task, part: Part, table: Table, root: Path, path: Path) -> None:
    """Raise DataError that names the file if its content is not the recorded one.

    A file built locally with other library versions has other bytes. Its rows and pixels are then hashed once, and a
    correct result is remembered in MRB's cache.
    """
    stat = path.stat()
    digest = _hash_file(path, stat.st_size, stat.st_mtime_ns)
    wanted = _read_hashes(root, part, table)
    if _read_json(root / FILES).get(f"{part.repository}/{table.config}/{table.split}.parquet") == digest:
        return
    right = find_cache_root() / "embedded" / f"{digest[:32]}-{wanted[:32]}"
    if right.exists():
        return
    if hash_content(path, f"task {task.id}") != wanted:
        raise DataError(
            f"task {task.id}: {path} is damaged: its rows and images are not those of the task's definition; install "
            "MRB again"
        )
    with suppress(MRBError):  # if the cache cannot be written, the file is only hashed again next time
        write_bytes(right, b"")


def hash_content(path: Path, where: str) -> str:
    """Return the SHA-256 over rows and decoded pixels, which no compression or image encoding changes.

    Raises DataError for a damaged file.
    """
    from PIL import Image

    digest = hashlib.sha256()
    try:
        for row in pq.read_table(path).to_pylist():
            hashes = []
            for encoded in filter(None, [row.pop("image", None), *(row.pop("images", None) or ())]):
                image = Image.open(io.BytesIO(encoded["bytes"])).convert("RGBA")
                hashes.append(hash_bytes(f"{image.mode} {image.width}x{image.height}\n".encode() + image.tobytes()))
            digest.update(dump_canonical_json(row) + b"\t" + " ".join(hashes).encode() + b"\n")
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, SyntaxError) as error:
        raise DataError(f"{where}: {path} is damaged: {to_one_line(error, 120)}; install MRB again") from error
    return digest.hexdigest()


def _read_hashes(root: Path, part: Part, table: Table) -> str:
    found = _read_json(root / CONTENTS).get("tables", {}).get(f"{part.repository}/{table.config}/{table.split}", {})
    return str(found.get("sha256", ""))


@cache
def _read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(path)
    return found


@cache
def _hash_file(path: Path, size: int, mtime_ns: int) -> str:
    return hash_file(path)
