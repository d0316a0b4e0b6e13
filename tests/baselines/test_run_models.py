"""Models through the command line, as a user runs them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.data.task import TYPES, load_task
from tests.builders.command import run_mrb

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]
OFFLINE = {"HF_HUB_OFFLINE": "1", "MRB_OFFLINE": "1"}


def test_a_users_own_checkpoint_runs_on_all_nine_types(tiny: Tiny, tmp_path: Path) -> None:
    options = [f"path={tiny('qwen2_5_vl')}", "layout=gmr", "max_pixels=20000", "max_length=600"]
    chosen = [word for option in options for word in ("--set", option)]
    done = run_mrb(
        tmp_path, "run", "--model", "yes-no", *chosen, "--suite", "mini", "--limit", "2", torch=True, **OFFLINE
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(path.read_text()) for path in (tmp_path / "runs/yes-no").glob("*/result.json")]
    assert {load_task(result["task"]).type for result in results} == set(TYPES)
    assert all(result["counts"]["failed_pairs"] == 0 for result in results)
    # What was cut is told, once, at the end.
    assert re.search(r"\d+ of \d+ prompts lost \d+ tokens of text to max_length=600", done.stderr)
    again = run_mrb(
        tmp_path, "run", "--model", "yes-no", *chosen, "--suite", "mini", "--limit", "2", torch=True, **OFFLINE
    )
    assert "were scored before" in again.stderr
