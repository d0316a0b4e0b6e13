"""What loading a task counted, and how that differs from the registry."""

from __future__ import annotations

import logging
from functools import cache
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from mrb.data.task import Model, Task
from mrb.errors import DataError

_LOG = logging.getLogger("mrb.hub")
Rows = Annotated[int, Field(ge=0)]


class Counts(Model):
    """What the rules of loading did, published with every result. All are numbers of rows, queries or documents.

    `queries_without_positives` counts queries that were judged but have no positive left; a query of the table that
    nobody judged is in `queries_in_table` only. `qrels_outside_corpus` were dropped, or, where the judgements are raw,
    counted and kept. `qrels_repeated` are rows that judge a pair again, `queries_repeated` and `documents_repeated`
    rows of an id that stood before: what the rule `duplicates` left out. Numbers of repeats that are 0 are not written.
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
        """Rows of all tables that the rule `duplicates` left out."""
        return self.qrels_repeated + self.queries_repeated + self.documents_repeated

    @model_serializer(mode="wrap")
    def _without_zero_repeats(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Results of data without repeats have the bytes that they had before repeats were counted.
        fields: dict[str, Any] = handler(self)
        return {name: rows for name, rows in fields.items() if rows or not name.endswith("_repeated")}


def check_counts(task: Task, counts: Counts) -> None:
    """Compare what was read of a Hub task with the registry's sizes.

    Where the registry was compared with the live Hub (`seen_live`) a difference is a DataError: tables are cut off or
    of something else. Other sizes are those of papers and READMEs, and a difference is a warning, once a process.
    """
    # Judgements that were kept although they are outside the corpus are in both numbers.
    kept = 0 if task.rules.raw_qrels else counts.qrels_outside_corpus
    found = sizes_differ(
        task,
        documents=counts.documents + counts.documents_repeated,
        qrels=counts.qrels + kept + counts.qrels_outside_queries + counts.qrels_not_positive + counts.qrels_repeated,
        queries=counts.queries + counts.queries_without_positives,
    )
    if found and task.source.seen_live is not None:
        raise DataError(f"task {task.id}: {found}; `mrb data verify --task {task.id}` checks the files")
    if found:
        _warn_once(f"task {task.id}: {found}; was a table cut off, or is the registry wrong?")


def sizes_differ(
    task: Task,
    *,
    documents: int | None,
    qrels: int | None,
    queries: int | None = None,
    query_rows: int | None = None,
) -> str:
    """How these numbers differ from the sizes that the registry states, in words; empty where they do not.

    None is not known. `query_rows` are those of the table, which may hold queries that nobody judged.
    """
    size = task.size
    pairs = (("documents", documents, size.documents), ("judged queries", queries, size.queries))
    found = [
        f"{known:,} {name}, the registry says {stated:,}"
        for name, known, stated in (*pairs, ("judgements", qrels, size.qrels))
        if None not in (known, stated) and known != stated
    ]
    if query_rows is not None and query_rows < size.queries:
        found.append(f"{query_rows:,} rows of queries, the registry says {size.queries:,} judged ones")
    return "; ".join(found)


@cache
def _warn_once(line: str) -> None:
    _LOG.warning("%s", line)
