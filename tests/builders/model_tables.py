"""The tables of docs/models.md by adapter. A row may stand for several adapters of one family."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def read_model_table() -> dict[str, list[str]]:
    """Checkpoint, licence, inputs, run on its weights, compared with, largest difference; without links."""
    rows: dict[str, list[str]] = {}
    for names, (checkpoints, *cells) in _read_rows("| adapter | checkpoint |"):
        each = [checkpoints] if len(names) == 1 else checkpoints.split(", ")
        rows |= {name: [checkpoint, *cells] for name, checkpoint in zip(names, each, strict=True)}
    return rows


def read_training_table() -> dict[str, list[str]]:
    """The sets whose training data it has seen, and who says so."""
    return {name: cells for names, cells in _read_rows("| adapter | trained on data of |") for name in names}


def _read_rows(header: str) -> Iterator[tuple[list[str], list[str]]]:
    text = re.sub(r" \(\[\w+\]\([^)]*\)\)", "", PAGE.read_text(encoding="utf-8"))
    for row in text.partition(header)[2].partition("\n\n")[0].splitlines()[2:]:
        adapters, *cells = row.removeprefix("| ").removesuffix(" |").split(" | ")
        yield re.findall(r"`(.*?)`", adapters), cells
