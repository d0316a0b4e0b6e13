"""benchmarks/scale: its closed form stays close to its simulation, which runs the executors' own work queue."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PLAN = Path(__file__).parents[2] / "benchmarks" / "scale" / "plan.py"


@pytest.mark.slow
@pytest.mark.parametrize("changes", [(), ("--slow", "0.25", "--lost-every", "1"), ("--link", "2", "--uplink", "8")])
def test_the_closed_form_is_close_to_the_simulation(changes: tuple[str, ...]) -> None:
    tasks = ("--task", "scifact", "--task", "nights", "--rate", "t2t=50", "--rate", "i2i=20")
    command = [sys.executable, str(PLAN), *tasks, "--workers", "8", "--gpus-per-node", "2", "--simulate", "--json"]
    done = subprocess.run([*command, *changes], capture_output=True, text=True, check=True)
    ways = json.loads(done.stdout)["ways"]
    assert [way["way"].split()[0] for way in ways] == ["--executor", "--shard", "--shard"]
    for way in ways:
        assert way["simulated_seconds"] == pytest.approx(way["seconds"], rel=0.08)
