"""The docs list every model that ships, with the checkpoint that its adapter names and what it was compared with."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

from tests.builders.model_table import read_model_table

ROWS = read_model_table()
CLASSICAL = {"random", "constant", "bm25", "surface"}


def test_the_table_is_that_of_the_entry_points() -> None:
    assert set(ROWS) == {point.name for point in entry_points(group="mrb.rerankers")} - CLASSICAL


def test_every_row_names_the_checkpoint_that_its_adapter_loads() -> None:
    checked = 0
    for point in entry_points(group="mrb.rerankers"):
        model = getattr(point.load(), "model", None)
        if point.name in ROWS and isinstance(model, str):
            shown = "ships with MRB" if Path(model).is_dir() else model
            assert ROWS[point.name][0].startswith(shown), point.name
            checked += 1
    assert checked >= 13


def test_the_column_of_comparisons_is_that_of_the_files() -> None:
    builders = Path(__file__).parents[1] / "builders"
    held_in = [*(builders / "authors").glob("*.json"), builders / "listwise_port.json"]
    files = [json.loads(file.read_text(encoding="utf-8")) for file in held_in]
    held = {name: file.get("compared_with", "the authors' code") for file in files for name in file["adapters"]}
    held["listwise"] = "the maintainers' port (mteb)"  # tests/builders/listwise_port.json
    cells = {name: row[-2] for name, row in ROWS.items()}
    assert held and {name: cell for name, cell in cells.items() if cell in set(held.values())} == held
