"""Is the data that lies here what the packages give? Comparison by rows and decoded pixels, never by file bytes."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cairocffi
from draw import pixel_digest
from sources import BuildError
from write import Row, checksum

CHECKSUMS = "checksums.json"
# What draws and decodes: another version of these may move a pixel.
DRAWN_BY = ("cairosvg", "pillow", "pypdfium2", "pyarrow", "datasets")
Record = dict[str, Any]


def environment() -> dict[str, str]:
    """The versions that can change a pixel or a byte."""
    versions = {name: version(name) for name in DRAWN_BY}
    return {"python": platform.python_version(), "cairo": cairocffi.cairo_version_string(), **versions}


def read_record(folder: Path) -> Record:
    """The recorded checksums of a data folder; an empty record if there is none yet."""
    path = folder / CHECKSUMS
    if not path.exists():
        return {"schema_version": 1, "built_with": {}, "tables": {}}
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    return record


def write_record(folder: Path, record: Record) -> None:
    """Write the checksums, sorted, so that a rebuild changes nothing but what changed."""
    record["built_with"] = environment()
    record["tables"] = dict(sorted(record["tables"].items()))
    path = folder / CHECKSUMS
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def refuse_thaw(name: str, rows: list[Row], record: Record) -> None:
    """Test tables are frozen: once recorded, they can be rebuilt but not replaced by others."""
    known = record["tables"].get(name)
    if known is not None and name.endswith("/test") and known != checksum(rows):
        raise BuildError(f"{name}: differs from the frozen test data; run --check to see where")


def first_difference(shipped: list[Row], rebuilt: list[Row]) -> str | None:
    """Where two tables differ first, in words; None if rows and pixels agree."""
    for number, (left, right) in enumerate(zip(shipped, rebuilt, strict=False)):
        for column in left:
            if not _same(left[column], right.get(column)):
                return (
                    f"row {number}, column {column!r}: {_show(left[column])} here, {_show(right.get(column))} rebuilt"
                )
    if len(shipped) != len(rebuilt):
        return f"{len(shipped)} rows here, {len(rebuilt)} rebuilt"
    return None


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return pixel_digest(left["bytes"]) == pixel_digest(right["bytes"])
    return bool(left == right)


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return f"pixels {pixel_digest(value['bytes'])[:12]}"
    return repr(value)[:80]
