"""What loading a task counted."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mrb.task import Model

Rows = Annotated[int, Field(ge=0)]


class Counts(Model):
    """What the rules of loading did, published with every result. All are numbers of rows, queries or documents.

    `queries_without_positives` counts queries that were judged but have no positive left; a query of the table that
    nobody judged is in `queries_in_table` only. `qrels_outside_corpus` were dropped, or, where the judgements are raw,
    counted and kept.
    """

    queries: Rows
    documents: Rows
    qrels: Rows
    queries_in_table: Rows
    queries_without_positives: Rows
    qrels_outside_corpus: Rows
    qrels_outside_queries: Rows = 0
    qrels_not_positive: Rows
