"""Table cells as text: as HTML for a page, and as plain data for the script that sorts whole tables.

Both come from the same `Shown`, so that rows written by the script equal those in the page. Numbers are formatted here
and nowhere else.
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
    """A cell: sort value (None: blank, last in both directions), text, link target (a path of the site), small lines
    below (class and text), and CSS class.
    """

    value: float | str | None
    text: str
    href: str = ""
    smalls: tuple[tuple[str, str], ...] = ()
    kind: str = ""


def percent(fraction: float) -> str:
    """Format a fraction times 100 with two decimals."""
    return f"{100 * fraction:.2f}"


def signed(fraction: float) -> str:
    """Format a difference times 100 with sign and two decimals; what rounds to 0 has no sign."""
    text = f"{100 * fraction:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", MINUS)


@lru_cache(maxsize=2**17)
def safe(text: str) -> str:
    """Return text for HTML, also in an attribute: escaped, invisible characters written out."""
    return escape(text if text.isprintable() else str(visible(text)))


def visible(value: object) -> object:
    """Return text with control, bidirectional and other invisible characters written out; other values unchanged."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in value)


def blank(note: str) -> Shown:
    """Return a blank cell with its reason."""
    return Shown(None, "–", smalls=(("", note),), kind=BLANK)


def shown(cell: Cell, *more: tuple[str, str]) -> Shown:
    """Return a number's cell: value, file, `more` small lines, interval, and gain over the first stage."""
    if cell.mean is None:
        return blank(cell.note)
    smalls: tuple[tuple[str, str], ...] = ()
    if cell.low is not None and cell.high is not None:
        smalls = (("", f"{100 * cell.low:.2f}–{100 * cell.high:.2f}"),)
    if cell.gain is not None:
        smalls += ((direction(cell.gain), signed(cell.gain)),)
    return Shown(cell.mean, f"{100 * cell.mean:.2f}", cell.href or "", more + smalls)


def direction(gain: float) -> str:
    """Return the CSS class of a gain."""
    return "gain" if gain > 0 else "loss" if gain < 0 else "same"


def number(up: str, cell: Cell, column: str, measure: str = "") -> Markup:
    """Return a table cell with its sort value, for tables that are sorted in place (`tables.js`).

    `up` leads from the page to the site's root; `measure` is given if the column has several.
    """
    one = shown(cell, *((("", measure),) if measure else ()))
    stated = f' data-value="{one.value}"' if one.value is not None else ""
    return Markup(html(up, one, f' data-column="{safe(column)}"{stated}'))  # noqa: S704


def numbers(up: str, cells: Mapping[str, Cell], columns: Iterable[str]) -> Markup:
    """Return `number` for each of the columns, joined: faster for rows of which there are many."""
    return Markup("".join([number(up, cells[column], column) for column in columns]))  # noqa: S704


def html(up: str, cell: Shown, attributes: str = "") -> str:
    """Return the cell as a `td`; all content is escaped."""
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
    """Return what must be shown with every number of a run: CSS class and text."""
    lines = [("who", f"{card.kind} · {card.inputs}")]
    if card.uses_first_stage:
        lines.append(("flag", "sees the first stage’s scores"))
    if card.failed_pairs:
        lines.append(("failed", f"{card.failed_pairs} pairs failed"))
    return lines


def run_head(up: str, card: RunCard) -> Markup:
    """Return the head of a run's row: its name, linked to its page, and the lines of `under_name`."""
    name, lines = safe(card.name), _smalls(under_name(card))
    return Markup(f'<th scope="row"><a href="{up}models/{name}.html"><bdi>{name}</bdi></a>{lines}</th>')  # noqa: S704


def data(cell: Shown) -> Json:
    """Return the cell for board.js: [value, text, address, smalls, class] without empty ones at the end."""
    value = round(cell.value, 9) if isinstance(cell.value, float) else cell.value
    smalls = [words if not kind else [kind, visible(words)] for kind, words in cell.smalls]
    found: Json = [value, visible(cell.text), cell.href, smalls, cell.kind]
    while len(found) > 2 and not found[-1]:
        found.pop()
    return found


def row_html(up: str, head: str, cells: Sequence[Shown], attributes: str) -> str:
    """Return a row: its head (HTML) stands after the first cell, the rank."""
    first, *others = cells
    return f"<tr{attributes}>{html(up, first)}{head}{''.join([html(up, cell) for cell in others])}</tr>"
