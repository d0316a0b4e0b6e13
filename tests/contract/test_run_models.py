"""Models through the command line, as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from mrb.task import TYPES, load_task

Tiny = Callable[[str], Path]
COMMAND = Path(sys.executable).with_name("mrb")
RUNS_HERE = {"gmr-tiny", "random", "constant", "bm25", "surface", "minilm", "ocr-bm25"}


def mrb(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "MRB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [str(COMMAND), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_users_own_checkpoint_runs_on_all_nine_types(tiny: Tiny, tmp_path: Path) -> None:
    options = [f"path={tiny('qwen2_5_vl')}", "layout=gmr", "max_pixels=20000"]
    chosen = [word for option in options for word in ("--set", option)]
    done = mrb(tmp_path, "run", "--model", "yes-no", *chosen, "--suite", "mini", "--limit", "2")
    assert done.returncode == 0, done.stderr
    results = [json.loads(path.read_text()) for path in (tmp_path / "runs/yes-no").glob("*/result.json")]
    assert {load_task(result["task"]).type for result in results} == set(TYPES)
    assert all(result["counts"]["failed_pairs"] == 0 for result in results)
    again = mrb(tmp_path, "run", "--model", "yes-no", *chosen, "--suite", "mini", "--limit", "2")
    assert "were scored before" in again.stderr


@pytest.mark.parametrize(
    ("name", "architecture", "task"),
    [
        ("gmr-7b", "qwen2_5_vl", "mini-fact-it2it"),
        ("jina-reranker-m0", "jina_m0", "mini-page-t2vd"),
        ("qwen3-reranker-0.6b", "qwen3", "mini-faq-t2t"),
    ],
)
def test_an_adapter_holds_what_it_declares(name: str, architecture: str, task: str, tiny: Tiny, tmp_path: Path) -> None:
    images = [] if architecture == "qwen3" else ["--set", "max_pixels=20000"]
    done = mrb(tmp_path, "check", name, "--set", f"path={tiny(architecture)}", *images, "--task", task)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "holds what it declares" in done.stdout


@pytest.mark.parametrize("name", sorted({p.name for p in entry_points(group="mrb.rerankers")} - RUNS_HERE))
def test_what_cannot_run_here_says_so_in_one_line(name: str, tmp_path: Path) -> None:
    done = mrb(tmp_path, "check", name, "--task", "mini-faq-t2t", "--requests", "1")
    assert done.returncode == 2
    assert done.stderr.startswith("mrb: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
