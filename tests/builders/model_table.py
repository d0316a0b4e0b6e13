"""The table of docs/models.md by adapter. A row may stand for several adapters of one family."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def read_model_table() -> dict[str, list[str]]:
    """Checkpoint, licence, inputs, compared with, largest difference; without links."""
    text = re.sub(r" \(\[\w+\]\([^)]*\)\)", "", PAGE.read_text(encoding="utf-8"))
    rows: dict[str, list[str]] = {}
    for row in text.partition("| adapter | checkpoint |")[2].partition("\n\n")[0].splitlines()[2:]:
        adapters, checkpoints, *cells = row.removeprefix("| ").removesuffix(" |").split(" | ")
        names = re.findall(r"`(.*?)`", adapters)
        each = [checkpoints] if len(names) == 1 else checkpoints.split(", ")
        rows |= {name: [checkpoint, *cells] for name, checkpoint in zip(names, each, strict=True)}
    return rows


def list_run_here() -> list[str]:
    """The adapters of which the page says that the project has run them on their real weights."""
    told = PAGE.read_text(encoding="utf-8").partition("**Of the weights below this project has run only those of ")[2]
    return re.findall(r"`(.*?)`", told.partition("**")[0])
