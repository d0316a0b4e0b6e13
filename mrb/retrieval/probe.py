"""Time a retriever on a small task, for `--dry-run`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

from mrb.data.items import Item
from mrb.data.task_data import ItemTable, TaskData
from mrb.evaluation.estimate import EncodingRate
from mrb.retrieval.dense import Dense
from mrb.retrieval.encoding import LocalEncoder
from mrb.retrieval.first_stage import collect_dense
from mrb.retrieval.retriever import Retriever

PROBE_SECONDS = 1.0
"""Approximate seconds of timing for queries and for documents; at least one batch of each is timed."""
PROBE_DEPTH = 100
WARM_UP = 4
"""The number of items of each table that are encoded or searched before the timing."""


def probe_rate(retriever: Retriever, data: TaskData) -> EncodingRate:
    """Measure the rate of a retriever on a small task: the calls of an encoder, or a whole search of another retriever.

    Raises MRBError if the retriever cannot take the data.
    """
    if isinstance(retriever, Dense) and isinstance(retriever.writer, LocalEncoder):
        own, size = retriever.writer.target, retriever.writer.batch_size
        return EncodingRate(
            _encode_probe(data.queries, size, lambda items: own.encode_queries(items, data.task.instruction)),
            _encode_probe(data.corpus, size, own.encode_documents),
        )
    few = replace(data, queries=_keep_first(data.queries, WARM_UP), corpus=_keep_first(data.corpus, WARM_UP))
    try:
        _search(retriever, few)
        rate = (len(data.queries) + len(data.corpus)) / _search(retriever, data)
    finally:
        for dense in collect_dense(retriever):
            dense.discard()
    return EncodingRate(rate, rate)


def _encode_probe(table: ItemTable, size: int, encode: Callable[[Sequence[Item]], object]) -> float:
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


def _keep_first(table: ItemTable, count: int) -> ItemTable:
    return replace(table, rows=dict(islice(table.rows.items(), count)))
