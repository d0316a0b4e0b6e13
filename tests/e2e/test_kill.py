"""Killed at any moment, the same command goes on and ends in the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

MRB = Path(sys.executable).with_name("mrb")
KILLS = 20
ADAPTER = """
import time

class Slow:
    batch_invariant = True

    def score(self, request):
        time.sleep(0.002)
        words = set(request.query.text.lower().split())
        return [len(words & set(d.text.lower().split())) / (1 + len(d.text)) for d in request.candidates]
"""
COMMAND = [str(MRB), "run", "--model", "slow", "--task", "mini-faq-t2t"]
FINAL = ("result.json", "scores.parquet", "per_query.parquet")


def _start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(COMMAND, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finished(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "runs" / "slow" / "mini-faq-t2t" / name).read_bytes() for name in FINAL}


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> bool:
    """Until the condition holds (True) or the process has ended (False)."""
    while process.poll() is None:
        if condition():
            return True
        time.sleep(0.001)
    return False


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_twenty_random_kills_end_in_the_bytes_of_an_uninterrupted_run(tmp_path: Path) -> None:
    chance = random.Random(20261122)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
        (folder / "slow.py").write_text(ADAPTER)
    done = subprocess.run(COMMAND, cwd=whole, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    journal = cut / "runs" / "slow" / "mini-faq-t2t" / "journal"
    full = _size(whole / "runs" / "slow" / "mini-faq-t2t" / "journal")
    sizes = []
    for _ in range(KILLS):
        process = _start(cut)
        # A random number of bytes further: after the start, between records, and now and then before the first.
        wanted = _size(journal) + chance.randint(0, full // (KILLS + 2))
        assert _wait_for(lambda wanted=wanted: _size(journal) >= wanted, process), process.communicate()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        sizes.append(_size(journal))
    assert sizes == sorted(sizes)
    assert full // 3 < sizes[-1] < full, "the kills must have hit a run in progress"
    last = subprocess.run(COMMAND, cwd=cut, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert _finished(cut) == _finished(whole)


def test_a_stopped_run_goes_on_and_keeps_others_out(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(ADAPTER)
    journal = tmp_path / "runs" / "slow" / "mini-faq-t2t" / "journal"
    process = _start(tmp_path)
    assert _wait_for(lambda: _size(journal) > 2000, process)
    os.kill(process.pid, signal.SIGSTOP)
    second = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True, check=False)
    os.kill(process.pid, signal.SIGCONT)
    _, errors = process.communicate(timeout=60)
    assert second.returncode == 2
    assert f"in use by process {process.pid}" in second.stderr
    assert process.returncode == 0, errors
    assert set(_finished(tmp_path)) == set(FINAL)
