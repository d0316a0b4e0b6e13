"""The query explorer: queries with their candidates before and after reranking, with texts and images where the data
ships with MRB.

The pages show the task's best run; a script replaces it by another, from that run's data alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mrb._util.progress import Progress, start_progress
from mrb.leaderboard.explorer import PER_PAGE, TOP, Query, find_page, list_queries, make_list_data, make_run_data
from mrb.leaderboard.images import ImageStore
from mrb.leaderboard.page import Page, get_queries_path, get_query_path, render
from mrb.leaderboard.scripts import make_data_script
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.rankings import ExploredTask, read_orders

_LARGE = 256
"""Pixels: images with a longer side are shown larger, and open separately."""


def make_files(site: Site) -> Iterator[Page]:
    """Yield the data and images, `queries/<task>/<n>.html`, `queries/<task>.html`, `queries.html`."""
    images = ImageStore()
    shown = list(site.explored.values())
    with start_progress("queries", "rankings", sum(len(one.runs) for one in shown)) as progress:
        for one in shown:
            yield from _make_task(one, site, images, progress)
    others = [task for task in site.tasks if task.id not in site.explored]
    yield render("queries.html.jinja", "queries.html", shown=shown, others=others)


def _make_task(one: ExploredTask, site: Site, images: ImageStore, progress: Progress) -> Iterator[Page]:
    """Yield all files of one task, holding the orders of one run at a time."""
    found: list[Query] = []
    for run in one.runs:
        orders = read_orders(one, run, site.submissions.get(run.name))
        progress.advance()
        yield make_data_script(f"queries/{one.task.id}/{run.name}", make_run_data(orders))
        found = found or list_queries(one, orders, images, site.labels)
    yield make_data_script(f"corpus/{one.task.id}", make_list_data(one, images))
    yield from images.take_new()
    count = -(-len(found) // PER_PAGE)
    common: dict[str, Any] = {
        "site": site,
        "shown": one,
        "task": one.task,
        "run": one.runs[0],
        "pages": count,
        "all": len(found),
        "top": TOP,
    }
    common |= {"layout": _choose_layout(one), "page_of": find_page}
    for number in range(1, count + 1):
        part = found[(number - 1) * PER_PAGE : number * PER_PAGE]
        path = get_query_path(one.task.id, number)
        yield render("queries_part.html.jinja", path, queries=part, number=number, **common)
    ordered = sorted(found, key=lambda query: (-query.gain, query.number))
    counts = {
        "won": sum(query.gain > 0 for query in found),
        "tied": sum(query.gain == 0 for query in found),
        "lost": sum(query.gain < 0 for query in found),
    }
    values: dict[str, Any] = {"queries": ordered, "counts": counts}
    yield render("queries_task.html.jinja", get_queries_path(one.task.id), **common, **values)


def _choose_layout(one: ExploredTask) -> str:
    """Return how a list is laid out: "lines" if documents have texts, else side by side: "sheets" if they are large
    images, or "strip".
    """
    corpus = one.plan.data.corpus
    if corpus.has_texts:
        return "lines"
    sizes = [image.size for doc_id in list(corpus)[:1] for image in corpus.item(doc_id).images]
    return "sheets" if any(max(size) > _LARGE for size in sizes) else "strip"
