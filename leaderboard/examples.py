"""A few queries of a task with what answers them, for tasks whose data comes with MRB, under a licence that allows it.

Which queries, no result decides: they stand at equal steps through the task's own order.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from mrb.data.items import Item
from mrb.data.load import load_task_data
from mrb.data.task import Task
from mrb.data.task_data import TaskData
from mrb.leaderboard.images import Picture, Pictures

QUERIES, POSITIVES = 3, 3
"""Queries of a task, and the most relevant documents of a query that are shown."""
_LETTERS = 240


@dataclass(frozen=True)
class ExampleItem:
    """A query or document: its text (cut, empty where there is none) and its picture."""

    text: str
    picture: Picture | None


@dataclass(frozen=True)
class Example:
    """A query and some of its `relevant` documents."""

    query: ExampleItem
    positives: tuple[ExampleItem, ...]
    relevant: int


def examples(task: Task, pictures: Pictures) -> list[Example]:
    """The task's examples, none for a task whose data is not part of MRB. DataError for a picture that is damaged or
    over the task's caps: nothing is published that was not decoded."""
    if task.source.kind != "embedded":
        return []
    data = load_task_data(task)
    return [_example(data, query_id, pictures) for query_id in chosen(list(data.queries))]


def chosen(query_ids: Sequence[str]) -> list[str]:
    """The queries in the middle of each third; all of them where there are no more."""
    if len(query_ids) <= QUERIES:
        return list(query_ids)
    return [query_ids[len(query_ids) * (2 * place + 1) // (2 * QUERIES)] for place in range(QUERIES)]


def _example(data: TaskData, query_id: str, pictures: Pictures) -> Example:
    grades = data.qrels[query_id]
    # The highest grades first, then in the order of the judgements.
    best = sorted(grades, key=lambda doc_id: -grades[doc_id])[:POSITIVES]
    positives = tuple(_item(data.corpus.item(doc_id), pictures) for doc_id in best)
    return Example(_item(data.queries.item(query_id), pictures), positives, len(grades))


def _item(item: Item, pictures: Pictures) -> ExampleItem:
    return ExampleItem(textwrap.shorten(item.text, _LETTERS, placeholder=" …"), pictures.of(item.image))
