"""Killed at any moment, the same command goes on and ends in the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.command import MRB, run_mrb

pytestmark = pytest.mark.slow

ADAPTER = """
import time

class Slow:
    batch_invariant = True

    def score(self, request):
        time.sleep(0.002)
        words = set(request.query.text.lower().split())
        return [len(words & set(d.text.lower().split())) / (1 + len(d.text)) for d in request.candidates]
"""
COMMAND = ["run", "--model", "slow", "--task", "mini-faq-t2t"]
FINAL = ("result.json", "scores.parquet", "per_query.parquet")


def _start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([MRB, *COMMAND], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


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


def test_a_stopped_run_goes_on_and_keeps_others_out(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(ADAPTER)
    journal = tmp_path / "runs" / "slow" / "mini-faq-t2t" / "journal"
    process = _start(tmp_path)
    assert _wait_for(lambda: _size(journal) > 2000, process)
    os.kill(process.pid, signal.SIGSTOP)
    second = run_mrb(tmp_path, *COMMAND)
    os.kill(process.pid, signal.SIGCONT)
    _, errors = process.communicate(timeout=300)
    assert second.returncode == 2
    assert f"in use by process {process.pid}" in second.stderr
    assert process.returncode == 0, errors
    assert set(_finished(tmp_path)) == set(FINAL)


def test_a_resume_under_changed_source_checks_a_sample_first(tmp_path: Path) -> None:
    adapter = tmp_path / "slow.py"
    adapter.write_text(ADAPTER)
    first = run_mrb(tmp_path, *COMMAND, "--limit", "40")
    assert first.returncode == 0, first.stderr
    adapter.write_text("# a comment that moves no score\n" + ADAPTER)
    same = run_mrb(tmp_path, *COMMAND)
    assert same.returncode == 0, same.stderr
    assert "the adapter's source changed: 4 queries are scored again" in same.stderr
    before = _finished(tmp_path)
    adapter.write_text(ADAPTER.replace("(1 + len(d.text))", "(2 + len(d.text))"))
    other = run_mrb(tmp_path, *COMMAND)
    assert other.returncode == 2
    (line,) = [line for line in other.stderr.splitlines() if line.startswith("mrb: ")]
    assert "the adapter's source changed" in line
    assert "--fresh" in line
    assert _finished(tmp_path) == before
    fresh = run_mrb(tmp_path, *COMMAND, "--fresh")
    assert fresh.returncode == 0, fresh.stderr
    assert _finished(tmp_path) != before
