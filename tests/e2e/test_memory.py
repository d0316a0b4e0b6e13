"""Memory does not grow with the number of queries: peak anonymous memory of ten times the queries."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SCRIPT = Path(__file__).with_name("memory_script.py")
GROWTH = 1.10


def _peak(folder: Path, queries: int) -> int:
    """Peak RssAnon in kB of a process that runs a reranker over `queries` queries with pictures on both sides.

    RssAnon and not RSS: pages of memory-mapped tables count towards RSS and are given back whenever asked for. The
    smallest of three runs: how the C allocator happens to lay out its heap moves single runs by a tenth.
    """
    _script("write", folder, queries)
    return min(int(_script("run", folder, queries)) for _ in range(3))


def _script(mode: str, folder: Path, queries: int) -> str:
    command = [sys.executable, str(SCRIPT), mode, str(folder), str(queries)]
    # A new cache each time: the tables are converted anew, which is part of what is measured.
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"HF_DATASETS_CACHE": cache}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ten_times_the_queries_take_less_than_a_tenth_more_memory(tmp_path: Path) -> None:
    few = _peak(tmp_path / "few", 150)
    many = _peak(tmp_path / "many", 1500)
    assert many < GROWTH * few, f"{few} kB for 150 queries, {many} kB for 1500"
