"""Format sizes, times, rates and counts for people."""

from __future__ import annotations


def size_text(gigabytes: float | None) -> str:
    """Return a size as `20.1 GB`, below one gigabyte as `636 MB` or `0.03 MB`, for None as `unknown`."""
    if gigabytes is None:
        return "unknown"
    if gigabytes >= 1:
        return f"{gigabytes:,.1f} GB"
    megabytes = 1000 * gigabytes
    return f"{megabytes:,.0f} MB" if megabytes >= 10 else f"{megabytes:.2g} MB"


def time_text(seconds: float) -> str:
    """Return a time in seconds (below 90 s), minutes (below 90 min) or hours."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:,.1f} h"


def rate_text(rate: float) -> str:
    """Return a rate with two significant digits below 10, else as a whole number."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def tasks_text(count: int) -> str:
    """Return `1 task` or `40 tasks`."""
    return "1 task" if count == 1 else f"{count} tasks"
