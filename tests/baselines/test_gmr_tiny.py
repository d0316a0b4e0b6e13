"""The model that ships: its weights are whole and small. Its card's figures are compared in test_readme."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mrb.baselines.gmr_tiny import GMRTiny
from mrb.rerankers.plugins import list_installed
from mrb.training.recipe import load_recipe

pytestmark = pytest.mark.torch

FOLDER = Path(str(GMRTiny.model))
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_what_ships_is_small_and_named() -> None:
    assert "gmr-tiny" in list_installed()
    size = sum(path.stat().st_size for path in FOLDER.glob("*") if path.is_file())
    assert (FOLDER / "model.safetensors").stat().st_size < size <= 12_000_000
    assert load_recipe("gmr-tiny").sha256 in CARD


def test_the_card_has_all_nine_types() -> None:
    kinds = re.findall(r"^\| `mini-[a-z0-9-]+` \| ([a-z0-9]+) \|", CARD, re.MULTILINE)
    assert set(kinds) == {"t2t", "i2i", "t2i", "t2vd", "i2t", "t2it", "it2t", "it2i", "it2it"}
