"""Data of the explorer's pages about each query: plain values for the templates, and the same for the scripts.

Numbers are integers in hundredths of a point (6309 is 63.09), as printed: so a gain is exactly the difference of the
two numbers shown, and scripts need not round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from mrb.data.items import Item
from mrb.leaderboard.images import ImageStore, SiteImage
from mrb.leaderboard.tables.cells import MINUS
from mrb.leaderboard.tables.rankings import ExploredTask, Float64, RunOrders
from mrb.metrics.ranking import Float32

TOP = 10
"""Candidates shown per query before and after: as many as the headline measure considers."""
PER_PAGE = 15
_CLIP = 200


@dataclass(frozen=True)
class ItemView:
    """An item for display: id, text (truncated, on one line), images."""

    id: str
    text: str
    images: tuple[SiteImage, ...]


@dataclass(frozen=True)
class Candidate:
    """A candidate in one of the two lists.

    `rank` is its rank there, `moved` its rank in the other list; `grade` is 0 if not judged relevant; `score` is text,
    only in the run's list.
    """

    item: ItemView
    rank: int
    moved: int
    grade: int
    score: str = ""


@dataclass(frozen=True)
class Query:
    """One query with its lists.

    `number` counts from 1 in task order; `unlisted` counts relevant documents that the list does not hold; `before` and
    `after` are values in hundredths of a point; `tied` says that the run gives all candidates one score.
    """

    number: int
    item: ItemView
    before: int
    after: int
    first: tuple[Candidate, ...]
    own: tuple[Candidate, ...]
    candidates: int
    relevant: int
    unlisted: int
    tied: bool

    @property
    def gain(self) -> int:
        """The run's gain, in hundredths of a point."""
        return self.after - self.before


def to_hundredths(values: Float64) -> list[int]:
    """Convert fractions to integer hundredths of a point."""
    return [int(number) for number in np.rint(values * 10_000)]


def find_page(number: int) -> int:
    """Return the page, from 1, with query `number` (from 1)."""
    return (number - 1) // PER_PAGE + 1


def view_item(item_id: str, item: Item, images: ImageStore) -> ItemView:
    """Return the item for a page; its images are requested from `images`."""
    return ItemView(item_id, truncate(item.text, _CLIP), images.request(item))


def truncate(text: str, letters: int) -> str:
    """Return the text on one line, truncated to so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= letters else line[: letters - 1].rstrip() + "…"


def list_queries(shown: ExploredTask, orders: RunOrders, images: ImageStore) -> list[Query]:
    """Return every query of the task with its lists before and after the run of `orders`."""
    plan, corpus = shown.plan, shown.plan.data.corpus
    known: dict[str, ItemView] = {}

    def document(doc_id: str) -> ItemView:
        if doc_id not in known:
            known[doc_id] = view_item(doc_id, corpus.item(doc_id), images)
        return known[doc_id]

    found = []
    before, after = to_hundredths(shown.first_values), to_hundredths(orders.values)
    for row, entry in enumerate(plan.entries()):
        grades, order = plan.data.qrels[entry.query_id], orders.orders[row].tolist()
        ranks = _rank_positions(order)
        ids = [document(doc_id) for doc_id in entry.doc_ids[:TOP]]
        own_ids = [entry.doc_ids[place] for place in order[:TOP]]
        scores = format_scores(orders.scores[row][:TOP].tolist())
        first = [Candidate(one, place + 1, ranks[place], grades.get(one.id, 0)) for place, one in enumerate(ids)]
        own = [
            Candidate(document(doc_id), rank, place + 1, grades.get(doc_id, 0), score)
            for rank, (doc_id, place, score) in enumerate(zip(own_ids, order, scores, strict=False), start=1)
        ]
        item = view_item(entry.query_id, plan.data.queries.item(entry.query_id), images)
        unlisted = sum(doc_id not in set(entry.doc_ids) for doc_id in grades)
        found.append(
            Query(
                row + 1,
                item,
                before[row],
                after[row],
                tuple(first),
                tuple(own),
                len(entry.doc_ids),
                len(grades),
                unlisted,
                ties_all(orders.scores[row]),
            )
        )
    return found


def ties_all(scores: Float32) -> bool:
    """Return whether all of several candidates have the same score: the ranking rule's hash then decides the order."""
    return len(scores) > 1 and bool((scores == scores[0]).all())


def make_run_data(orders: RunOrders) -> dict[str, object]:
    """Return what the script needs of a run.

    For each query: the value, the positions (from 0) in the list of the run's top ten, their scores, the run's ranks
    (from 1) of the list's top ten, and 1 if all candidates tie, else 0.
    """
    placed = [order.tolist() for order in orders.orders]
    return {
        "values": to_hundredths(orders.values),
        "top": [order[:TOP] for order in placed],
        "scores": [format_scores(scores[:TOP].tolist()) for scores in orders.scores],
        "ranks": [_rank_positions(order)[:TOP] for order in placed],
        "tied": [int(ties_all(scores)) for scores in orders.scores],
    }


def make_list_data(shown: ExploredTask, images: ImageStore) -> dict[str, object]:
    """Return what the script needs of a task.

    The documents that its lists hold ([id, text], then path, width and height of each image); for each query the
    list's value, the list as indices of these documents, and the judged grades ([position in the list, grade]).
    """
    documents: dict[str, int] = {}
    lists, judged = [], []
    for entry in shown.plan.entries():
        grades = shown.plan.data.qrels[entry.query_id]
        lists.append([documents.setdefault(doc_id, len(documents)) for doc_id in entry.doc_ids])
        judged.append([[place, grades[d]] for place, d in enumerate(entry.doc_ids) if d in grades])
    corpus = shown.plan.data.corpus
    items = (view_item(doc_id, corpus.item(doc_id), images) for doc_id in documents)
    return {
        "documents": [_make_document(item) for item in items],
        "values": to_hundredths(shown.first_values),
        "lists": lists,
        "judged": judged,
    }


def format_scores(scores: Sequence[float]) -> list[str]:
    """Format scores with four significant digits; a failed pair has none."""
    return ["failed" if isnan(score) else f"{score:.4g}".replace("-", MINUS) for score in scores]


def _make_document(item: ItemView) -> list[object]:
    shown = (part for image in item.images for part in (image.path, image.width, image.height))
    return [item.id, item.text, *shown]


def _rank_positions(order: Sequence[int]) -> list[int]:
    """Return the rank, from 1, of each position of the list."""
    ranks = [0] * len(order)
    for rank, place in enumerate(order, start=1):
        ranks[place] = rank
    return ranks
