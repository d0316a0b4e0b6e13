"""Table cells as text. Numbers are formatted here and nowhere else; `rows_html` makes the HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from mrb.leaderboard.tables.rows import Cell, TableRow
from mrb.leaderboard.tables.runs import RunCard
from mrb.metrics.significance import Difference

MINUS = "\u2212"
BLANK, RANK, BEST = "blank", "rank", "best"
SCORE, NO_INTERVAL, NO_GAIN = "score", "no-interval", "no-gain"
"""CSS classes: a cell with a number over queries, and what it lacks of what such a cell can show."""


class CellText(NamedTuple):
    """A cell: sort value (None: blank, last in both directions), text, link target (a path of the site), small lines
    below (class and text), CSS classes, and the column's key in tables that are sorted in place.
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


def format_cell(
    cell: Cell, *more: tuple[str, str], column: str = "", best: str = "", gain: Difference | None = None
) -> CellText:
    """Return a number's cell: value, file, `more` small lines, interval, and gain over the first stage.

    It is marked if it shows the same as `best`. `gain` is the test of its gain, if there is one.
    """
    if cell.mean is None:
        return make_blank(cell.note, column)
    smalls: tuple[tuple[str, str], ...] = ()
    if cell.low is not None and cell.high is not None:
        smalls = (("", f"{format_percent(cell.low)}–{format_percent(cell.high)}"),)
    if cell.gain is not None:
        smalls += ((gain_class(gain), format_signed(cell.gain)),)
    text = format_percent(cell.mean)
    kind = f"{SCORE} {BEST}" if text == best else SCORE
    kind += f" {NO_INTERVAL}" if cell.low is None else ""
    kind += f" {NO_GAIN}" if cell.gain is None else ""
    return CellText(cell.mean, text, cell.href or "", more + smalls, kind, column)


def sign_class(gain: float) -> str:
    """Return the CSS class of a difference by its sign alone."""
    return "gain" if gain > 0 else "loss" if gain < 0 else "same"


def gain_class(gain: Difference | None) -> str:
    """Return the CSS class of a gain: "gain" or "loss" if its interval excludes zero, "same" if not, or not tested."""
    if gain is None or gain.low <= 0 <= gain.high:
        return "same"
    return sign_class(gain.difference)


def list_row_notes(cards: Sequence[RunCard]) -> dict[str, list[tuple[str, str]]]:
    """Return what each run's row says below its name: what must be shown, and scoring and inputs where rows differ."""
    parts = [name for name in ("kind", "inputs") if len({getattr(card, name) for card in cards}) > 1]
    notes = {}
    for card in cards:
        own = " · ".join(getattr(card, name) for name in parts)
        notes[card.name] = describe_run(card) + ([("who", own)] if own else [])
    return notes


def describe_run(card: RunCard) -> list[tuple[str, str]]:
    """Return what must be shown with every number of a run: CSS class and text."""
    lines = []
    if card.uses_first_stage:
        lines.append(("flag", "sees the first stage’s scores"))
    if card.failed_pairs:
        lines.append(("failed", f"{card.failed_pairs:,} pair{'s' if card.failed_pairs > 1 else ''} failed"))
    return lines
