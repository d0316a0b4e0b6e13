"""What tests of several processes look at: files that a run ends in, processes, and lines that are told."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

FINAL = ("result.json", "scores.parquet", "per_query.parquet")


def finals(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*")) if p.name in FINAL}


def built(folder: Path) -> list[int]:
    """The processes that have imported the adapter, in order."""
    path = folder / "built"
    return [int(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody has collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 300.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()
