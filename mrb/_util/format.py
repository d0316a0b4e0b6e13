"""Sizes, times, rates and counts as people read them."""

from __future__ import annotations


def size_text(gigabytes: float | None) -> str:
    """`20.1 GB`; under one gigabyte in megabytes, `636 MB` or `0.03 MB`; `unknown` for None."""
    if gigabytes is None:
        return "unknown"
    if gigabytes >= 1:
        return f"{gigabytes:,.1f} GB"
    megabytes = 1000 * gigabytes
    return f"{megabytes:,.0f} MB" if megabytes >= 10 else f"{megabytes:.2g} MB"


def time_text(seconds: float) -> str:
    """Seconds, minutes or hours, by how many there are."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:,.1f} h"


def rate_text(rate: float) -> str:
    """So many a second: two digits where it is small, whole where it is large."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def tasks_text(count: int) -> str:
    """`1 task`, `40 tasks`."""
    return "1 task" if count == 1 else f"{count} tasks"
