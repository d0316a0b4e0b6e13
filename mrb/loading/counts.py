"""What loading a task counted."""

from __future__ import annotations

from mrb.task import Model


class Counts(Model):
    """What the rules of loading did, published with every result. All are numbers of rows, queries or documents."""

    queries: int
    documents: int
    qrels: int
    queries_in_table: int
    queries_without_positives: int
    qrels_outside_corpus: int
    qrels_not_positive: int
