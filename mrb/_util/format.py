"""Format sizes, times, rates, counts and tables for people."""

from __future__ import annotations

import csv
import io
import re
import textwrap
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

GAP = "  "
_LEAST_TEXT = 20
"""Characters that the last column needs on its line; with fewer, a table is stacked."""
_INDENT = "    "

_LATEX = {c: "\\" + c for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\u2212": "$-$",
    "–": "--",
}


def format_size(gigabytes: float | None) -> str:
    """Return a size as `20.1 GB`, below one gigabyte as `636 MB` or `0.03 MB`, for None as `unknown`."""
    if gigabytes is None:
        return "unknown"
    if gigabytes >= 1:
        return f"{gigabytes:,.1f} GB"
    megabytes = 1000 * gigabytes
    return f"{megabytes:,.0f} MB" if megabytes >= 10 else f"{megabytes:.2g} MB"


def format_duration(seconds: float) -> str:
    """Return a time in seconds (below 90 s), minutes (below 90 min) or hours."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:,.1f} h"


def format_rate(rate: float) -> str:
    """Return a rate with two significant digits below 10, else as a whole number."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def format_count(count: int, noun: str) -> str:
    """Return a number of things whose plural ends in s: `1 group` or `1,200 groups`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_tasks(count: int) -> str:
    """Return `1 task` or `40 tasks`."""
    return format_count(count, "task")


@dataclass(frozen=True)
class Screen:
    """Where text is shown: `width` in characters (None: lines may have any length), and whether it takes colour."""

    width: int | None = None
    colour: bool = False

    def paint(self, text: str, **styles: Any) -> str:
        """Return text in the styles of `click.style`, or as it is where there is no colour."""
        if not self.colour or not styles:
            return text
        import click

        return click.style(text, **styles)


PLAIN = Screen()
"""A file, a pipe, a page: whole lines without colour."""


class Styled(str):
    """A cell that is shown in the styles of `click.style` where the screen has colour."""

    __slots__ = ("styles",)
    styles: dict[str, Any]

    def __new__(cls, text: str, **styles: Any) -> Self:
        cell = super().__new__(cls, text)
        cell.styles = styles
        return cell


@dataclass(frozen=True)
class _Row:
    """Cells of whole columns, and a text that extends over the columns after them (None: there are none)."""

    cells: tuple[str, ...]
    rest: str | None = None

    def without(self, column: int) -> _Row:
        return replace(self, cells=self.cells[:column] + self.cells[column + 1 :])


def format_table(
    rows: Sequence[Sequence[str]],
    left: int | Collection[int] = 1,
    *,
    drop: Sequence[str] = (),
    screen: Screen = PLAIN,
) -> list[str]:
    """Return the lines of a table with aligned columns.

    A table that is wider than the screen loses the columns of `drop`, one after the other, and a last line names
    them. If it is still too wide, a left-aligned last column is folded, and otherwise each row takes several lines.
    Characters that control a terminal are removed from all cells.

    Args:
        rows: The head, then the rows. The last cell of a row that is shorter than the head extends over the columns
            that the row lacks.
        left: How many columns, or which, are left-aligned.
        drop: Heads of columns that may be left out, the least needed first.
        screen: The width to fit and whether styles of cells (`Styled`) are shown.

    Example:
        >>> format_table([("task", "gain"), ("mini-faq-t2t", "+1.25")])
        ['task           gain', 'mini-faq-t2t  +1.25']
    """
    whole = len(rows[0])
    table = [
        _Row(tuple(map(_clean, row))) if len(row) == whole else _Row(tuple(map(_clean, row[:-1])), _clean(row[-1]))
        for row in rows
    ]
    to_left = [column in (range(left) if isinstance(left, int) else left) for column in range(whole)]
    dropped: list[str] = []
    for head in drop:
        if _fits(table, screen):
            break
        column = table[0].cells.index(head)
        table = [row.without(column) for row in table]
        del to_left[column]
        dropped.append(head)
    lines = list(_lay_out(table, to_left, screen))
    if dropped:
        lines.append(screen.paint(f"not shown at {screen.width} columns: {', '.join(dropped)}", dim=True))
    return lines


def fold_text(text: str, screen: Screen, indent: str = "") -> list[str]:
    """Return the lines of a paragraph, folded at the screen's width; all lines but the first begin with `indent`."""
    clean = _clean(text)
    if screen.width is None or measure_width(clean) <= screen.width:
        return [clean]
    width = max(screen.width, _LEAST_TEXT + len(indent))
    return textwrap.wrap(clean, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


def format_reasons(reasons: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each reason, with the tasks that it keeps from having a result: `reason (2 tasks): a, b`.

    Which side of a task is of a modality that the reranker does not take is left out: the task's type says the same.
    """
    own = re.compile(r"^(not covered: ).*; (?=the reranker takes )")
    short = {task_id: own.sub(r"\1", reason) for task_id, reason in reasons.items()}
    for reason in dict.fromkeys(short.values()):
        task_ids = [task_id for task_id, other in short.items() if other == reason]
        yield f"{reason} ({format_tasks(len(task_ids))}): {', '.join(task_ids)}"


def measure_width(text: str) -> int:
    """Return the number of terminal columns that a text without control characters takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def cut_to_width(text: str, width: int) -> str:
    """Return a text that takes at most `width` columns; a text that was cut ends in an ellipsis."""
    if measure_width(text) <= width:
        return text
    kept, used = "", 0
    for character in text:
        used += measure_width(character)
        if used > width - 1:
            break
        kept += character
    return kept.rstrip() + "…"


def format_csv_table(rows: Iterable[Sequence[object]]) -> str:
    """Return CSV. None is an empty cell; a text that a spreadsheet would read as a formula begins with a quote."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [_guard_formula(cell) if isinstance(cell, str) else cell for cell in row] for row in rows
    )
    return text.getvalue()


def format_latex_table(columns: str, blocks: Sequence[Sequence[Sequence[str]]]) -> str:
    """Return a LaTeX `tabular` for the package booktabs, with a rule between blocks of rows. Cells are LaTeX."""
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    for number, block in enumerate(blocks):
        lines += [r"\midrule"] * (number > 0) + [" & ".join(row) + r" \\" for row in block]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def escape_latex(text: str) -> str:
    """Return text with LaTeX's special characters escaped."""
    return "".join(_LATEX.get(character, character) for character in text)


def escape_markdown(text: str) -> str:
    """Return text whose characters have no meaning in Markdown or HTML; `format_markdown_table` escapes `|`."""
    return re.sub(r"([\\`*_<>\[\]&])", r"\\\1", text)


def format_markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, and an empty line after it."""
    for number, row in enumerate((header, *rows)):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        if number == 0:
            yield "|" + "---|" * len(header)
    yield ""


@lru_cache(maxsize=2**14)
def _guard_formula(text: str) -> str:
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _lay_out(table: Sequence[_Row], to_left: Sequence[bool], screen: Screen) -> Iterator[str]:
    """Yield the lines of a table whose columns are chosen."""
    widths = _list_widths(table)
    last = len(widths) - 1
    if _fits(table, screen):
        yield from _join_rows(table, widths, to_left, screen)
    elif to_left[last] and last and _sum_widths(widths[:-1]) + len(GAP) + _LEAST_TEXT <= (screen.width or 0):
        folded = [row if row.rest is not None else _Row(row.cells[:-1], row.cells[-1]) for row in table]
        yield from _join_rows(folded, widths, to_left, screen)
    else:
        yield from _stack_rows(table, widths, to_left, screen)


def _join_rows(table: Sequence[_Row], widths: Sequence[int], to_left: Sequence[bool], screen: Screen) -> Iterator[str]:
    for row in table:
        cells = [
            _pad(cell, width, to_the_left, screen)
            for cell, width, to_the_left in zip(row.cells, widths, to_left, strict=False)
        ]
        start = _sum_widths(widths[: len(cells)]) + len(GAP) * bool(cells)
        folded = [] if row.rest is None else _fold(row.rest, screen.width, start)
        first = [_paint(folded[0], row.rest, screen)] if folded else []
        yield GAP.join([*cells, *first]).rstrip()
        yield from (" " * start + _paint(line, row.rest, screen) for line in folded[1:])


def _stack_rows(table: Sequence[_Row], widths: Sequence[int], to_left: Sequence[bool], screen: Screen) -> Iterator[str]:
    """Yield each row on several lines, the same columns on each, all but the first line indented."""
    groups: list[list[int]] = [[]]
    for column in range(len(widths)):
        taken = len(_INDENT) * (len(groups) > 1) + _sum_widths([widths[one] for one in (*groups[-1], column)])
        if groups[-1] and screen.width is not None and taken > screen.width:
            groups.append([])
        groups[-1].append(column)
    for row in table:
        for number, group in enumerate(groups):
            part = [column for column in group if column < len(row.cells)]
            ends_here = row.rest is not None and (len(row.cells) in group or (number == 0 and not part))
            if not part and not ends_here:
                continue
            indent = _INDENT if number else ""
            one = _Row(tuple(row.cells[column] for column in part), row.rest if ends_here else None)
            room = None if screen.width is None else screen.width - len(indent)
            of_group = [widths[column] for column in group], [to_left[column] for column in group]
            if one.rest is None and part and widths[part[-1]] > (room or 0) and to_left[part[-1]]:
                one = _Row(one.cells[:-1], one.cells[-1])  # a text that is wider than the screen is folded
            for line in _join_rows([one], *of_group, replace(screen, width=room)):
                yield indent + line


def _fold(text: str, width: int | None, start: int) -> list[str]:
    """Return the lines of a text that begins at column `start`."""
    if width is None or start + measure_width(text) <= width:
        return [text]
    room = max(width - start, _LEAST_TEXT)
    return textwrap.wrap(text, room, break_on_hyphens=False) or [""]


def _pad(cell: str, width: int, to_left: bool, screen: Screen) -> str:
    space = " " * (width - measure_width(cell))
    shown = _paint(cell, cell, screen)
    return shown + space if to_left else space + shown


def _paint(text: str, cell: str | None, screen: Screen) -> str:
    return screen.paint(text, **cell.styles) if isinstance(cell, Styled) else text


def _fits(table: Sequence[_Row], screen: Screen) -> bool:
    """Return whether all whole rows fit; a text that extends over columns may be folded instead."""
    return screen.width is None or _sum_widths(_list_widths(table)) <= screen.width


def _list_widths(table: Sequence[_Row]) -> list[int]:
    return [
        max(measure_width(row.cells[column]) for row in table if column < len(row.cells))
        for column in range(len(table[0].cells))
    ]


def _sum_widths(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * max(len(widths) - 1, 0)


def _clean(cell: str) -> str:
    """Return a cell without control characters; it keeps its styles and the spaces that align it."""
    if cell.isprintable():
        return cell
    text = re.sub(r"\s+|[^ -~\u00a0-\U0010ffff]", " ", cell)
    text = "".join(character if character.isprintable() else " " for character in text)
    return Styled(text, **cell.styles) if isinstance(cell, Styled) else text


def format_p_value(p: float) -> str:
    """Format a p value with four decimals; the smallest that a test can give is 0.0001.

    >>> format_p_value(1 / 10_000)
    '0.0001'
    """
    return f"{p:.4f}"
