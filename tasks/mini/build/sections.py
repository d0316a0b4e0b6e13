"""Sections of a manual as one to three page images: the title of a section -> the pages of a whole section."""

import pages
from sources import Library
from tables import Item, TaskTables

LAST_PAGE = 70
"""The manual's pages after it are left out, so that the table stays under one megabyte."""
MOST_PAGES = 3


def build_t2vd(library: Library, split: str) -> TaskTables:
    """Section title -> sections as page images, from the tables of the task on single pages."""
    return join_pages(pages.build_t2vd(library, split))


def join_pages(single: TaskTables) -> TaskTables:
    """Return the sections of at most MOST_PAGES pages, in one document each.

    Sections on the same pages are one document. A document has grade 2 if the whole section is on its pages, grade 1 if
    a part of it is.
    """
    spread: dict[str, tuple[int, ...]] = {}
    for query, page, _ in single.qrels:
        spread[query] = tuple(sorted((*spread.get(query, ()), int(page))))
    spread = {query: run for query, run in spread.items() if _is_short(run)}
    runs = sorted(set(spread.values()))
    images = {int(item.id): item.image for item in single.corpus}
    texts = {int(item.id): item.text or "" for item in single.side}
    corpus = [Item(_name(run), images=tuple(images[page] or b"" for page in run)) for run in runs]
    side = [Item(_name(run), text=" ".join(texts[page] for page in run)) for run in runs]
    queries = [item for item in single.queries if item.id in spread]
    qrels = [
        (query, _name(run), 2 if set(own) <= set(run) else 1)
        for query, own in spread.items()
        for run in runs
        if set(own) & set(run)
    ]
    return TaskTables(corpus, queries, qrels, side)


def _is_short(run: tuple[int, ...]) -> bool:
    whole = run == tuple(range(run[0], run[-1] + 1))  # a blank page inside is in no table
    return whole and len(run) <= MOST_PAGES and run[-1] <= LAST_PAGE


def _name(run: tuple[int, ...]) -> str:
    return f"pages-{run[0]}-{run[-1]}" if len(run) > 1 else f"page-{run[0]}"
