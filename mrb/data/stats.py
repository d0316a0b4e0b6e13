"""The counts of loading a task, and their differences from the registry."""

from __future__ import annotations

import logging
from functools import cache
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from mrb._util.model import Model
from mrb.data.task import Task
from mrb.errors import DataError

_LOG = logging.getLogger("mrb.hub")
Rows = Annotated[int, Field(ge=0)]


class Counts(Model):
    """The effects of the loading rules, published with every result. All are numbers of rows, queries or documents.

    `queries_without_positives` counts judged queries that have no positive left; a query without a judgement counts in
    `queries_in_table` only. `qrels_outside_corpus` were dropped, or counted and kept if the judgements are raw.
    `qrels_repeated` counts rows that judge a pair again; `queries_repeated` and `documents_repeated` count rows with a
    repeated id. The rule `duplicates` dropped all three. Repeat counts of 0 are not written.
    """

    queries: Rows
    documents: Rows
    qrels: Rows
    queries_in_table: Rows
    queries_without_positives: Rows
    qrels_outside_corpus: Rows
    qrels_outside_queries: Rows = 0
    qrels_not_positive: Rows
    qrels_repeated: Rows = 0
    queries_repeated: Rows = 0
    documents_repeated: Rows = 0

    @property
    def repeated(self) -> int:
        """The number of rows of all tables that the rule `duplicates` dropped."""
        return self.qrels_repeated + self.queries_repeated + self.documents_repeated

    @model_serializer(mode="wrap")
    def _without_zero_repeats(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Results of data without repeats keep the bytes they had before these fields existed.
        fields: dict[str, Any] = handler(self)
        return {name: rows for name, rows in fields.items() if rows or not name.endswith("_repeated")}


def check_counts(task: Task, counts: Counts) -> None:
    """Compare the counts of a Hub task with the registry's sizes.

    If the registry was checked against the live Hub (`seen_live`), a difference raises DataError: the tables are cut
    off or wrong. Otherwise the sizes come from papers and READMEs, and a difference is logged as a warning, once per
    process.
    """
    # With raw judgements, those outside the corpus are already in `counts.qrels`: do not add them again.
    kept = 0 if task.rules.raw_qrels else counts.qrels_outside_corpus
    found = describe_size_difference(
        task,
        documents=counts.documents + counts.documents_repeated,
        qrels=counts.qrels + kept + counts.qrels_outside_queries + counts.qrels_not_positive + counts.qrels_repeated,
        queries=counts.queries + counts.queries_without_positives,
    )
    if found and task.source.seen_live is not None:
        raise DataError(f"task {task.id}: {found}; `mrb data check --task {task.id}` checks the files")
    if found:
        _warn_once(f"task {task.id}: {found}; was a table cut off, or is the registry wrong?")


def describe_size_difference(
    task: Task,
    *,
    documents: int | None,
    qrels: int | None,
    queries: int | None = None,
    query_rows: int | None = None,
) -> str:
    """Describe how numbers of rows differ from the registry's sizes.

    Args:
        task: The task.
        documents: Rows of the corpus; None if unknown, as for the others.
        qrels: Rows of the judgements.
        queries: Judged queries.
        query_rows: Rows of the query table, which may hold queries without judgements.

    Returns:
        The differences in words; empty if there are none.
    """
    size = task.size
    pairs = (("documents", documents, size.documents), ("judged queries", queries, size.queries))
    found = [
        f"{known:,} {name}, the registry says {stated:,}"
        for name, known, stated in (*pairs, ("judgements", qrels, size.qrels))
        if known is not None and stated and known != stated
    ]
    if query_rows is not None and query_rows < size.queries:
        found.append(f"{query_rows:,} rows of queries, the registry says {size.queries:,} judged ones")
    return "; ".join(found)


@cache
def _warn_once(line: str) -> None:
    _LOG.warning("%s", line)
