"""What making first-stage lists would take, from the registry alone."""

from __future__ import annotations

from collections.abc import Sequence

from mrb.columns import aligned
from mrb.task import Task


def costs_text(tasks: Sequence[Task], depth: int, rate: float | None) -> str:
    """A row a task and the sums: queries, documents, pairs of the list, gigabytes to load, and hours of encoding at
    `rate` items a second (every query and every document once), where a rate is given."""
    head = ("task", "type", "queries", "documents", "pairs", "GB to load")
    rows = [(*head, "hours") if rate else head]
    for task in tasks:
        size = task.size
        pairs = size.queries * min(depth, size.documents)
        gigabytes = "unknown" if size.gigabytes is None else f"{size.gigabytes:,.1f}"
        cells = (task.id, task.type, f"{size.queries:,}", f"{size.documents:,}", f"{pairs:,}", gigabytes)
        rows.append((*cells, _hours(size.queries + size.documents, rate)) if rate else cells)
    queries, documents = sum(t.size.queries for t in tasks), sum(t.size.documents for t in tasks)
    known = [t.size.gigabytes for t in tasks if t.size.gigabytes is not None]
    unknown = len(tasks) - len(known)
    total = (
        f"{len(tasks)} tasks: {queries:,} queries, {documents:,} documents, {sum(known):,.1f} GB"
        + (f" and {unknown} of unknown size" if unknown else "")
        + (f", {_hours(queries + documents, rate)} hours of encoding at {rate:g} items a second" if rate else "")
    )
    note = "the registry's numbers; nothing was loaded" + ("" if rate else "; --rate N adds hours")
    return "\n".join([*aligned(rows, left=2), total, note])


def _hours(items: int, rate: float) -> str:
    return f"{items / rate / 3600:,.2f}"
