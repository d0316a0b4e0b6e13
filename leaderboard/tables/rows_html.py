"""Rows of tables as HTML. A board has a million cells, which a template would render several times slower.

`root` is the address of the site's root, from which links lead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from markupsafe import Markup, escape

from mrb.leaderboard.tables.cells import BEST, BLANK, CellText, escape_invisible
from mrb.leaderboard.tables.runs import Badge, RunCard, get_model_path

LONG = 40
"""A longer name is cut on narrow screens: its link says the whole of it when pointed at."""
_STAR = '<i class="star" role="img" aria-label="best"></i>'


def render_row(card: RunCard, notes: Iterable[tuple[str, str]], cells: Sequence[CellText], root: str) -> Markup:
    """Return a row of the board; its head stands after the first cell, the rank."""
    first, rest = render_cells(cells[:1], root), render_cells(cells[1:], root)
    return _mark_escaped(f'<tr data-run="{_escape(card.name)}">{first}{render_head(card, notes, root)}{rest}</tr>')


def render_fixed_row(role: str, cells: Sequence[CellText], root: str) -> Markup:
    """Return the row of the first stage or of the oracle."""
    first, rest = render_cells(cells[:1], root), render_cells(cells[1:], root)
    kind, words = _escape(role.replace(" ", "-")), _escape(role)
    return _mark_escaped(f'<tr class="{kind}">{first}<th scope="row">{words}</th>{rest}</tr>')


def render_head(card: RunCard, notes: Iterable[tuple[str, str]], root: str) -> Markup:
    """Return the head of a row: the name, linked to the model's page, its organisation with icons, and the notes."""
    name = _escape(card.title)
    title = f' title="{name}"' if len(card.title) > LONG else ""
    link = f'<a href="{_escape(root + get_model_path(card.name))}"{title}><bdi>{name}</bdi></a>'
    icons = "".join([_render_badge(badge) for badge in card.badges])
    organisation = f"<small>{_escape(card.organisation)}{icons}</small>" if card.organisation else ""
    lines = "".join([f'<small class="{_escape(kind)}">{_escape(words)}</small>' for kind, words in notes])
    return _mark_escaped(f'<th scope="row">{link}{organisation}{lines}</th>')


def render_cells(cells: Iterable[CellText], root: str) -> Markup:
    """Return cells. Those with a column have their sort value, for tables that tables.js sorts in place."""
    found = []
    for value, text, href, smalls, kind, column in cells:
        head = f' class="{_escape(kind)}"' if kind else ""
        if column:
            head += f' data-column="{_escape(column)}"'
            head += "" if value is None else f' data-value="{_escape(str(value))}"'
        star = _STAR if BEST in kind else ""
        if kind == BLANK:
            shown = f'<span aria-hidden="true">{_escape(text)}</span>'
        elif href:
            shown = f'<a href="{_escape(root + href)}">{_escape(text)}</a>'
        else:
            shown = f"<b>{_escape(text)}</b>"
        found.append(f"<td{head}>{star}{shown}{''.join([_render_small(*small) for small in smalls])}</td>")
    return _mark_escaped("".join(found))


def _mark_escaped(html: str) -> Markup:
    return Markup(html)  # noqa: S704 - every part of it is from `_escape`, or written here


def _render_badge(badge: Badge) -> str:
    name, words, href = map(_escape, badge)
    start, end = (f'<a class="{name}" href="{href}"', "</a>") if href else (f'<i class="{name}" role="img"', "</i>")
    return f'{start} aria-label="{words}" title="{words}">{end}'


@lru_cache(maxsize=2**16)
def _render_small(kind: str, words: str) -> str:
    return f'<small class="{_escape(kind)}">{_escape(words)}</small>' if kind else f"<small>{_escape(words)}</small>"


@lru_cache(maxsize=2**16)
def _escape(text: str) -> str:
    return str(escape(escape_invisible(text)))
