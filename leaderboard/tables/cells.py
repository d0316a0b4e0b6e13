"""Cells as text: what stands in one, as HTML for a page and as plain data for the script that sorts whole tables.

Both are made from the same `Shown`, so that a row that a script has written is the one that the server wrote. Numbers
become text here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from html import escape
from typing import NamedTuple

from markupsafe import Markup

from mrb.leaderboard.tables.rows import Cell
from mrb.leaderboard.tables.runs import RunCard

MINUS = "\u2212"
BLANK = "blank"
Json = list[object]


class Shown(NamedTuple):
    """A cell: what it is sorted by (None: a blank, last in both directions), its text, the address that the text links
    to (a path of the site), small lines below (class and text), and its class."""

    value: float | str | None
    text: str
    href: str = ""
    smalls: tuple[tuple[str, str], ...] = ()
    kind: str = ""


def percent(fraction: float) -> str:
    """A fraction times 100, two decimals."""
    return f"{100 * fraction:.2f}"


def signed(fraction: float) -> str:
    """A difference times 100 with its sign, two decimals; what rounds to nothing has none."""
    text = f"{100 * fraction:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", MINUS)


@lru_cache(maxsize=2**17)
def safe(text: str) -> str:
    """Text as it may stand in HTML, in an attribute too: escaped, its invisible characters written out."""
    return escape(text if text.isprintable() else str(visible(text)))


def visible(value: object) -> object:
    """Text with its control, bidirectional and other invisible characters written out; other values as they are."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in value)


def blank(note: str) -> Shown:
    """A blank that says why."""
    return Shown(None, "–", smalls=(("", note),), kind=BLANK)


def shown(cell: Cell, *more: tuple[str, str]) -> Shown:
    """A number: its file, interval, gain over the first stage, and `more` small lines."""
    if cell.mean is None:
        return blank(cell.note)
    smalls: tuple[tuple[str, str], ...] = ()
    if cell.low is not None and cell.high is not None:
        smalls = (("", f"{100 * cell.low:.2f}–{100 * cell.high:.2f}"),)
    if cell.gain is not None:
        smalls += ((direction(cell.gain), signed(cell.gain)),)
    return Shown(cell.mean, f"{100 * cell.mean:.2f}", cell.href or "", more + smalls)


def direction(gain: float) -> str:
    """The class of a gain."""
    return "gain" if gain > 0 else "loss" if gain < 0 else "same"


def number(up: str, cell: Cell, column: str, measure: str = "") -> Markup:
    """A table's cell with what sorts it, for tables that are sorted where they stand (`tables.js`); `up` leads from the
    page to the site's root. `measure` where the column has several."""
    one = shown(cell, *((("", measure),) if measure else ()))
    stated = f' data-value="{one.value}"' if one.value is not None else ""
    return Markup(html(up, one, f' data-column="{safe(column)}"{stated}'))  # noqa: S704


def numbers(up: str, cells: Mapping[str, Cell], columns: Iterable[str]) -> Markup:
    """`number` for each of the columns, one after the other: in one piece, for rows of which there are many."""
    return Markup("".join([number(up, cells[column], column) for column in columns]))  # noqa: S704


def html(up: str, cell: Shown, attributes: str = "") -> str:
    """The cell as a `td`; everything in it is escaped."""
    if cell.kind == BLANK:
        text = '<span aria-hidden="true">–</span>'
    elif cell.href:
        text = f'<a href="{up}{safe(cell.href)}">{safe(cell.text)}</a>'
    else:
        text = f"<b>{safe(cell.text)}</b>"
    kind = f' class="{cell.kind}"' if cell.kind else ""
    return f"<td{kind}{attributes}>{text}{_smalls(cell.smalls)}</td>"


def _smalls(lines: Sequence[tuple[str, str]]) -> str:
    return "".join(
        [
            f'<small class="{kind}">{safe(words)}</small>' if kind else f"<small>{safe(words)}</small>"
            for kind, words in lines
        ]
    )


def under_name(card: RunCard) -> list[tuple[str, str]]:
    """What must stand beside every number of a run: class and words."""
    lines = [("who", f"{card.kind} · {card.inputs}")]
    if card.uses_first_stage:
        lines.append(("flag", "sees the first stage’s scores"))
    if card.failed_pairs:
        lines.append(("failed", f"{card.failed_pairs} pairs failed"))
    return lines


def run_head(up: str, card: RunCard) -> Markup:
    """The head of a run's row: its name, linked to its page, and what belongs beside it."""
    name, lines = safe(card.name), _smalls(under_name(card))
    return Markup(f'<th scope="row"><a href="{up}models/{name}.html"><bdi>{name}</bdi></a>{lines}</th>')  # noqa: S704


def data(cell: Shown) -> Json:
    """The cell for board.js: [value, text, address, smalls, class] without the empty ones at the end."""
    value = round(cell.value, 9) if isinstance(cell.value, float) else cell.value
    smalls = [words if not kind else [kind, visible(words)] for kind, words in cell.smalls]
    found: Json = [value, visible(cell.text), cell.href, smalls, cell.kind]
    while len(found) > 2 and not found[-1]:
        found.pop()
    return found


def row_html(up: str, head: str, cells: Sequence[Shown], attributes: str) -> str:
    """A row: its head, an element as HTML, stands after the first cell, which is the rank."""
    first, *others = cells
    return f"<tr{attributes}>{html(up, first)}{head}{''.join([html(up, cell) for cell in others])}</tr>"
