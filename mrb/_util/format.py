"""Format sizes, times, rates, counts and tables for people."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence


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
    """Return a line for each row, with aligned columns. `left`: how many columns, or which, are left-aligned."""
    columns = range(left) if isinstance(left, int) else left
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column in columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def format_markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, and an empty line after it."""
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""
