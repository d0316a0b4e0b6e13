"""The short campaign: a few of each fault, whose table must say that nothing was lost."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def _table(folder: Path, *options: str) -> dict[str, tuple[int, int, str]]:
    command = [sys.executable, "-m", "tests.faults", "--quick", "--out", str(folder), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^\| (.+) \| (\d+) \| (\d+) \| (.+) \|$", done.stdout, re.MULTILINE)
    return {fault: (int(tried), int(survived), lost) for fault, tried, survived, lost in rows}


def test_the_short_campaign_loses_nothing(tmp_path: Path) -> None:
    found = _table(tmp_path, "--kills", "6")
    tried, survived, lost = found.pop("**all**")
    assert (tried, survived, lost) == (sum(row[0] for row in found.values()), tried, "nothing")
    assert all(row[0] > 0 and row[0] == row[1] for row in found.values())
    kills = [row[0] for name, row in found.items() if name.startswith("SIGKILL at a random moment")]
    assert len(kills) == 5 and sum(kills) >= 6
    assert {name.partition(",")[0] for name in found} >= {"journal damaged at a byte", "adapter: hang"}


def test_a_fault_that_is_not_survived_is_told(tmp_path: Path) -> None:
    script = """
from tests.faults.tools import Fault, Lost, outcome, tried

def lose():
    raise Lost("a query")

row = tried(Fault("a fault", lambda folder: iter([None, outcome(lose), outcome(lambda: None)])), None)
print(" ".join(row.cells))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[0] == "a fault 3 2 a query", done.stderr
