"""The tables of docs/models.md and docs/design/authors-code.md by adapter. A row may stand for several adapters."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
COMPARISONS = PAGE.parent / "design" / "authors-code.md"


def read_model_table() -> dict[str, list[str]]:
    """Checkpoint, licence, inputs, compared with, largest difference; without links."""
    compared = {name: cells for names, cells in _read_rows(COMPARISONS, "compared with") for name in names}
    rows: dict[str, list[str]] = {}
    for names, (checkpoints, *cells) in _read_rows(PAGE, "checkpoint"):
        each = [checkpoints] if len(names) == 1 else checkpoints.split(", ")
        rows |= {name: [one, *cells, *compared.pop(name)] for name, one in zip(names, each, strict=True)}
    assert not compared
    return rows


def _read_rows(page: Path, column: str) -> list[tuple[list[str], list[str]]]:
    """Of the table whose second column has this head: the adapters of each row, and its other cells without links."""
    text = re.sub(r" \(\[\w+\]\([^)]*\)\)", "", page.read_text(encoding="utf-8"))
    rows = text.partition(f"| adapter | {column} |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [row.removeprefix("| ").removesuffix(" |").split(" | ") for row in rows]
    return [(re.findall(r"`(.*?)`", adapters), rest) for adapters, *rest in cells]


def list_run_here() -> list[str]:
    """The adapters of which the page says that the project has run them on their real weights."""
    told = PAGE.read_text(encoding="utf-8").partition("**Of the weights below this project has run only those of ")[2]
    return re.findall(r"`(.*?)`", told.partition("**")[0])
