"""The script for a GPU, run on a CPU with tiny shapes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.torch, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
CASES = ("text x text", "image query x text", "text x shared pages", "both x both")


def test_every_case_prints_a_figure_and_scores_are_those_of_the_plain_loop(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", "--cpu-smoke", "--out", out]
    # Without GMR-7B, whose architecture is that of GMR-3B.
    command += ["--only", "GMR-3B,search,training,Qwen3-VL-Reranker-2B,GME-2B,Nemotron-8B"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(out.read_text())["figures"]
    found = {(row["part"], row["case"]): row for row in figures}
    for name, parameters in (("GMR-3B", 420_064), ("Qwen3-VL-Reranker-2B", 526_112)):
        assert found[name, "model"]["parameters"] == parameters
        for case in CASES:
            equality = found[name, f"{case}: equality"]
            assert equality["float32_difference"] < 1e-5 < 1e-2 < equality["spread"]
            for way in ("engine", "loop", "sorted"):
                assert found[name, f"{case}: {way}"]["pairs_per_second"] > 0
        assert found[name, "text x text: sentence-transformers"]["difference"] < 0.1
        assert found[name, "text x text: engine"]["shared_tokens"] > 0
        reduced = found[name, "text x text: float8"]
        assert 0 < reduced["difference"] < 0.5 * found[name, "text x text: equality"]["spread"]
        assert reduced["inverted"] < 0.3
    for case in ("passages: engine", "pages: engine"):
        assert found["GME-2B", case]["vectors_per_second"] > 0
        assert found["GME-2B", case]["float32_difference"] < 1e-5
    assert found["Nemotron-8B", "text x text: equality"]["float32_difference"] < 1e-5
    assert found["Nemotron-8B", "text x text: loop"]["pairs_per_second"] > 0
    assert found["search", "exact search"]["share_of_product"] > 0
    assert found["training", "training step, LoRA"]["seconds_per_step"] > 0
    assert all(row["equal"] for row in figures if "equal" in row)
    # Each line of the table is a figure of the file.
    assert sum(line.startswith(tuple(row["part"] for row in figures)) for line in done.stdout.splitlines()) == len(
        figures
    )


def test_a_part_that_takes_too_long_is_stopped_and_keeps_its_figures(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", "--cpu-smoke", "--out", out]
    command += ["--only", "GMR-3B", "--minutes", "0.0001"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "GMR-3B: its time limit of 1 s is over" in done.stdout
