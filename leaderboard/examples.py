"""Example queries with relevant documents, for tasks whose data ships with MRB under a licence that allows it.

The choice does not depend on results: the queries are equally spaced in the task's own order.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from mrb.data.items import Item
from mrb.data.load import load_task_data
from mrb.data.task import Task
from mrb.data.task_data import TaskData
from mrb.leaderboard.images import ImageStore, SiteImage

QUERIES, POSITIVES = 3, 3
"""Queries per task, and most relevant documents shown per query."""
_LETTERS = 240


@dataclass(frozen=True)
class ExampleItem:
    """A query or document: its text (truncated, empty if there is none) and its images."""

    text: str
    images: tuple[SiteImage, ...]


@dataclass(frozen=True)
class Example:
    """A query and some of its `relevant` documents."""

    query: ExampleItem
    positives: tuple[ExampleItem, ...]
    relevant: int


def load_examples(task: Task, images: ImageStore) -> list[Example]:
    """Return the task's examples, none for a task whose data is not part of MRB.

    Raises DataError for an image that is damaged or over the task's limits: only decoded images are published.
    """
    if task.source.kind != "embedded":
        return []
    data = load_task_data(task)
    return [_make_example(data, query_id, images) for query_id in choose_queries(list(data.queries))]


def choose_queries(query_ids: Sequence[str]) -> list[str]:
    """Return the queries in the middle of each third; all of them if there are no more."""
    if len(query_ids) <= QUERIES:
        return list(query_ids)
    return [query_ids[len(query_ids) * (2 * place + 1) // (2 * QUERIES)] for place in range(QUERIES)]


def _make_example(data: TaskData, query_id: str, images: ImageStore) -> Example:
    grades = data.qrels[query_id]
    # Highest grades first, ties in the order of the judgements.
    best = sorted(grades, key=lambda doc_id: -grades[doc_id])[:POSITIVES]
    positives = tuple(_make_item(data.corpus.item(doc_id), images) for doc_id in best)
    return Example(_make_item(data.queries.item(query_id), images), positives, len(grades))


def _make_item(item: Item, images: ImageStore) -> ExampleItem:
    return ExampleItem(textwrap.shorten(item.text, _LETTERS, placeholder=" …"), images.request(item))
