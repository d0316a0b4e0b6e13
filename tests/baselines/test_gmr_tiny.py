"""The model that ships: its weights are whole and small, its card's figures are what it scores."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mrb.baselines.gmr_tiny import GMRTiny
from mrb.evaluation.run import run
from mrb.evaluation.spec import select_tasks
from mrb.rerankers.plugins import list_installed
from mrb.results.schema import read_result
from mrb.training.recipe import load_recipe

pytestmark = pytest.mark.torch

FOLDER = Path(str(GMRTiny.model))
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")
TASK = "mini-flag-i2t"


def cells(task: str) -> list[str]:
    """The card's line of a task, in the table of test results."""
    (line,) = re.findall(rf"^\| `{task}` \| .*$", CARD, re.MULTILINE)
    return [cell.strip() for cell in line.strip("| ").split("|")]


def test_what_ships_is_small_and_named() -> None:
    assert "gmr-tiny" in list_installed()
    size = sum(path.stat().st_size for path in FOLDER.glob("*") if path.is_file())
    assert (FOLDER / "model.safetensors").stat().st_size < size <= 12_000_000
    assert load_recipe("gmr-tiny").sha256 in CARD


def test_it_scores_what_its_card_says(tmp_path: Path) -> None:
    folder = run(replace(select_tasks(None, [TASK], (), 25), model="gmr-tiny", out=tmp_path)).folder
    result = read_result(folder / TASK / "result.json")
    _, kind, first_stage, own, *_ = cells(TASK)
    assert kind == "i2t"
    assert f"{100 * result.first_stage['nDCG@10'].mean:.2f}" == first_stage
    mean = float(own.split()[0])
    # Another processor's rounding may swap two candidates that are nearly alike.
    assert 100 * result.measures["nDCG@10"].mean == pytest.approx(mean, abs=0.3)


def test_the_card_has_all_nine_types() -> None:
    kinds = {cells(task)[1] for task in re.findall(r"^\| `(mini-[a-z0-9-]+)` \| [a-z0-9]+ \|", CARD, re.MULTILINE)}
    assert kinds == {"t2t", "i2i", "t2i", "t2vd", "i2t", "t2it", "it2t", "it2i", "it2it"}
