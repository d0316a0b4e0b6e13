"""Data of the explorer's pages about each query: plain values for the templates, and the same for the scripts.

Numbers are integers in hundredths of a point (6309 is 63.09), as printed: so a gain is exactly the difference of the
two numbers shown, and scripts need not round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from mrb.data.items import Item
from mrb.leaderboard.images import ImageStore, SiteImage
from mrb.leaderboard.tables.cells import MINUS, format_percent
from mrb.leaderboard.tables.rankings import SAME, ExploredTask, Float64, RunOrders

TOP = 10
"""Candidates shown per query before and after: as many as the headline measure considers."""
PER_PAGE = 15
_CLIP = 200


@dataclass(frozen=True)
class ItemView:
    """An item for display: id (empty if it is not known), text (truncated, on one line), images."""

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

    `number` counts the queries that are shown from 1, in task order; `unlisted` counts relevant documents that the list
    does not hold; `before` and `after` are values in hundredths of a point; `tied` says that the run gives all
    candidates one score; `spread` says how the runs differ on it, empty for fewer than three.
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
    spread: str

    @property
    def title(self) -> str:
        """What the query is called where it stands in a list."""
        return self.item.text or (f"query {self.number}" if self.item.images else self.item.id)

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


def list_queries(shown: ExploredTask, orders: RunOrders, images: ImageStore, labels: Mapping[str, str]) -> list[Query]:
    """Return every query that is shown of the task, with its lists before and after the run of `orders`.

    `labels` are what the runs are called, by name.
    """
    plan = shown.plan
    known: dict[str, ItemView] = {}

    def document(query_id: str, doc_id: str) -> ItemView:
        name = shown.name_document(query_id, doc_id)
        if name not in known:
            known[name] = _view_document(shown, name, images)
        return known[name]

    found = []
    before, after = to_hundredths(shown.first_values), to_hundredths(orders.values)
    for row, entry in enumerate(plan.entries()):
        query_id, grades, order = entry.query_id, plan.data.qrels[entry.query_id], orders.orders[row].tolist()
        ranks = _rank_positions(order)
        scores = _format_top_scores(orders, row)
        first = [
            Candidate(document(query_id, doc_id), place + 1, ranks[place], grades.get(doc_id, 0))
            for place, doc_id in enumerate(entry.doc_ids[:TOP])
        ]
        own = [
            Candidate(document(query_id, doc_id), rank, place + 1, grades.get(doc_id, 0), score)
            for rank, (place, score) in enumerate(zip(order, scores, strict=False), start=1)
            for doc_id in (entry.doc_ids[place],)
        ]
        found.append(
            Query(
                row + 1,
                view_item(query_id, plan.data.queries.item(query_id), images),
                before[row],
                after[row],
                tuple(first),
                tuple(own),
                len(entry.doc_ids),
                len(grades),
                sum(doc_id not in set(entry.doc_ids) for doc_id in grades),
                orders.tied[row],
                describe_spread({labels[name]: float(values[row]) for name, values in shown.values.items()}),
            )
        )
    return found


def describe_spread(values: Mapping[str, float]) -> str:
    """Return how models differ on a query, from its value by model; empty for fewer than three."""
    if len(values) < 3:
        return ""
    best, worst = max(values.values()), min(values.values())
    if best - worst <= SAME:
        return f"all {len(values)} models: {format_percent(best)}"
    middle = format_percent(float(np.median(list(values.values()))))
    ends = (f"{format_percent(end)} ({_name_equal(values, end)})" for end in (best, worst))
    return f"{len(values)} models: best {next(ends)}, median {middle}, worst {next(ends)}"


def _name_equal(values: Mapping[str, float], wanted: float) -> str:
    """Return the one model with this value, or how many have it."""
    names = [name for name, value in values.items() if abs(value - wanted) <= SAME]
    return names[0] if len(names) == 1 else f"{len(names)} models"


def _view_document(shown: ExploredTask, name: str, images: ImageStore) -> ItemView:
    return ItemView(name, "", ()) if shown.packed else view_item(name, shown.plan.data.corpus.item(name), images)


def _format_top_scores(orders: RunOrders, row: int) -> list[str]:
    """Return the scores of the best candidates as text; empty texts where none are published."""
    if orders.scores is None:
        return [""] * min(TOP, len(orders.orders[row]))
    return format_scores(orders.scores[row][:TOP].tolist())


def make_run_data(orders: RunOrders) -> dict[str, object]:
    """Return what the script needs of a run.

    For each query: the value, the positions (from 0) in the list of the run's top ten, their scores (empty texts where
    none are published), the run's ranks (from 1) of the list's top ten, and 1 if all candidates tie, else 0.
    """
    placed = [order.tolist() for order in orders.orders]
    return {
        "values": to_hundredths(orders.values),
        "top": [order[:TOP] for order in placed],
        "scores": [_format_top_scores(orders, row) for row in range(len(placed))],
        "ranks": [_rank_positions(order)[:TOP] for order in placed],
        "tied": list(map(int, orders.tied)),
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
        names = [shown.name_document(entry.query_id, doc_id) for doc_id in entry.doc_ids]
        lists.append([documents.setdefault(name, len(documents)) for name in names])
        judged.append([[place, grades[d]] for place, d in enumerate(entry.doc_ids) if d in grades])
    return {
        "documents": [_make_document(_view_document(shown, name, images)) for name in documents],
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
