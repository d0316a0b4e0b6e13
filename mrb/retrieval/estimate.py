"""Estimate the cost of first-stage lists from the sizes in the registry and a given or measured rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from mrb._util.format import format_duration, format_rate, format_size, format_table, format_tasks
from mrb.data.items import Item
from mrb.data.task import Task
from mrb.data.task_data import ItemTable, TaskData
from mrb.retrieval.dense import Dense
from mrb.retrieval.encoding import Encoding
from mrb.retrieval.first_stage import dense_of
from mrb.retrieval.retriever import Retriever

PROBE_SECONDS = 1.0
"""Approximate seconds of timing for queries and for documents; at least one batch of each is timed."""
PROBE_DEPTH = 100
WARM_UP = 4
"""The number of items of each table that are encoded or searched before the timing."""


@dataclass(frozen=True)
class Rate:
    """The throughput in items per second, for queries and for documents."""

    queries: float
    documents: float

    def seconds(self, task: Task) -> float:
        """Return the seconds that the task's queries and documents take."""
        return task.size.queries / self.queries + task.size.documents / self.documents


def probe_rate(retriever: Retriever, data: TaskData) -> Rate:
    """Measure the rate of a retriever on a small task: the calls of an encoder, or a whole search of another retriever.

    Raises MRBError if the retriever cannot take the data.
    """
    if isinstance(retriever, Dense) and isinstance(retriever.maker, Encoding):
        own, size = retriever.maker.target, retriever.maker.batch_size
        return Rate(
            _encoded(data.queries, size, lambda items: own.encode_queries(items, data.task.instruction)),
            _encoded(data.corpus, size, own.encode_documents),
        )
    few = replace(data, queries=_head(data.queries, WARM_UP), corpus=_head(data.corpus, WARM_UP))
    try:
        _search(retriever, few)
        rate = (len(data.queries) + len(data.corpus)) / _search(retriever, data)
    finally:
        for dense in dense_of(retriever):
            dense.discard()
    return Rate(rate, rate)


def costs_text(tasks: Sequence[Task], depth: int, rates: Mapping[str, Rate]) -> str:
    """Format one row per task and the sums: queries, documents, pairs of the list, download size, and encoding time.

    The time is that of encoding every query and document once at the rate of the task's type; without a rate there is
    none.
    """
    rows: list[tuple[str, ...]] = [("task", "type", "queries", "documents", "pairs", "to fetch", "items/s", "time")]
    for task in tasks:
        size, rate = task.size, rates.get(task.type)
        counts = (size.queries, size.documents, size.queries * min(depth, size.documents))
        told = ("-", "-") if rate is None else (_items(rate), format_duration(rate.seconds(task)))
        rows.append((task.id, task.type, *(f"{count:,}" for count in counts), _fetched(task), *told))
    known = [task.size.gigabytes or 0.0 for task in tasks if task.source.kind == "hub"]
    unknown = sum(task.source.kind == "hub" and task.size.gigabytes is None for task in tasks)
    timed = [rates[task.type].seconds(task) for task in tasks if task.type in rates]
    total = (
        f"{format_tasks(len(tasks))}: {sum(t.size.queries for t in tasks):,} queries, "
        f"{sum(t.size.documents for t in tasks):,} documents, {format_size(sum(known))} to fetch"
        + (f" and {unknown} of unknown size" if unknown else "")
        + (f", {format_duration(sum(timed))} of encoding" if timed else "")
        + (f" for {len(timed)} of {len(tasks)}" if 0 < len(timed) < len(tasks) else "")
    )
    return "\n".join([*format_table(rows, left=2), total])


def _fetched(task: Task) -> str:
    return format_size(task.size.gigabytes) if task.source.kind == "hub" else "-"


def _items(rate: Rate) -> str:
    """Format the rates of queries and documents, or one number if they are equal."""
    return " / ".join(dict.fromkeys((format_rate(rate.queries), format_rate(rate.documents))))


def _encoded(table: ItemTable, size: int, encode: Callable[[Sequence[Item]], object]) -> float:
    """Measure items per second, in batches of `size`."""
    encode([table.item(item_id) for item_id in islice(table, WARM_UP)])
    rest, count, spent = iter(table), 0, 0.0
    while spent < PROBE_SECONDS and (batch := [table.item(item_id) for item_id in islice(rest, size)]):
        started = time.perf_counter()
        encode(batch)
        spent += time.perf_counter() - started
        count += len(batch)
    return count / max(spent, 1e-9)


def _search(retriever: Retriever, data: TaskData) -> float:
    """Measure the seconds of a search; never 0."""
    started = time.perf_counter()
    for _ in retriever.search(data, PROBE_DEPTH):
        pass
    return max(time.perf_counter() - started, 1e-9)


def _head(table: ItemTable, count: int) -> ItemTable:
    return replace(table, rows=dict(islice(table.rows.items(), count)))
