"""Format sizes, times, rates, counts and tables for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Sequence

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


def format_tasks(count: int) -> str:
    """Return `1 task` or `40 tasks`."""
    return "1 task" if count == 1 else f"{count} tasks"


def format_table(rows: Sequence[Sequence[str]], left: int | Collection[int] = 1) -> list[str]:
    """Return a line for each row, with aligned columns.

    `left` says how many columns, or which, are left-aligned. The last cell of a row that is shorter than the first row
    extends over the columns that the row lacks.
    """
    columns = range(left) if isinstance(left, int) else left
    whole = len(rows[0])
    aligned = [row if len(row) == whole else row[:-1] for row in rows]
    widths = [max(len(row[column]) for row in aligned if column < len(row)) for column in range(whole)]
    return [
        "  ".join(
            [
                *(
                    cell.ljust(width) if column in columns else cell.rjust(width)
                    for column, (cell, width) in enumerate(zip(cells, widths, strict=False))
                ),
                *row[len(cells) :],
            ]
        ).rstrip()
        for row, cells in zip(rows, aligned, strict=True)
    ]


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


def format_markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, and an empty line after it."""
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


def _guard_formula(text: str) -> str:
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
