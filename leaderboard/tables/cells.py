"""Table cells as text. Numbers are formatted here and nowhere else; `templates/cells.html.jinja` makes the HTML."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from markupsafe import Markup

from mrb.leaderboard.tables.rows import Cell, TableRow
from mrb.leaderboard.tables.runs import RunCard

MINUS = "\u2212"
BLANK = "blank"


class CellText(NamedTuple):
    """A cell: sort value (None: blank, last in both directions), text, link target (a path of the site), small lines
    below (class and text), CSS class, and the column's key in tables that are sorted in place.
    """

    value: float | str | None
    text: str
    href: str = ""
    smalls: tuple[tuple[str, str], ...] = ()
    kind: str = ""
    column: str = ""


def format_percent(fraction: float) -> str:
    """Format a fraction times 100 with two decimals."""
    return f"{100 * fraction:.2f}"


def format_signed(fraction: float) -> str:
    """Format a difference times 100 with sign and two decimals; what rounds to 0 has no sign."""
    text = f"{100 * fraction:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", MINUS)


def escape_invisible(value: object) -> object:
    """Return text with control, bidirectional and other invisible characters written out; other values unchanged."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in value)


def format_row(row: TableRow, columns: Iterable[str]) -> list[CellText]:
    """Return the row's cells of these columns, for a table that is sorted in place."""
    return [format_cell(row.cells[column], column=column) for column in columns]


def make_blank(note: str, column: str = "") -> CellText:
    """Return a blank cell with its reason."""
    return CellText(None, "–", "", (("", note),), BLANK, column)


def format_cell(cell: Cell, *more: tuple[str, str], column: str = "") -> CellText:
    """Return a number's cell: value, file, `more` small lines, interval, and gain over the first stage."""
    if cell.mean is None:
        return make_blank(cell.note, column)
    smalls: tuple[tuple[str, str], ...] = ()
    if cell.low is not None and cell.high is not None:
        smalls = (("", f"{format_percent(cell.low)}–{format_percent(cell.high)}"),)
    if cell.gain is not None:
        smalls += ((sign_class(cell.gain), format_signed(cell.gain)),)
    return CellText(cell.mean, format_percent(cell.mean), cell.href or "", more + smalls, "", column)


def sign_class(gain: float) -> str:
    """Return the CSS class of a difference."""
    return "gain" if gain > 0 else "loss" if gain < 0 else "same"


def describe_run(card: RunCard) -> list[tuple[str, str]]:
    """Return what must be shown with every number of a run: CSS class and text."""
    lines = [("who", f"{card.kind} · {card.inputs}")]
    if card.uses_first_stage:
        lines.append(("flag", "sees the first stage’s scores"))
    if card.failed_pairs:
        lines.append(("failed", f"{card.failed_pairs:,} pair{'s' if card.failed_pairs > 1 else ''} failed"))
    return lines
