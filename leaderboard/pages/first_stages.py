"""What rerankers add to several first stages: a page, if runs of a suite are on the lists of several candidate sets."""

from __future__ import annotations

from collections.abc import Iterator

from mrb.leaderboard.page import Page, render
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.gains import GainTable
from mrb.results.first_stages_table import format_gains_csv

PATH = "first-stages.html"
ALL = "all"
"""The choice of parts.js that hides nothing."""


def get_data_path(table: GainTable) -> str:
    """Return the path of a table's numbers."""
    return f"data/{table.id}.csv"


def make_files(site: Site) -> Iterator[Page]:
    """Yield the one page and the numbers of each of its tables, or nothing."""
    for table in site.gains:
        yield Page(get_data_path(table), format_gains_csv(table.gains).encode())
    if site.gains:
        sets = dict.fromkeys(name for table in site.gains for name in table.gains.sets)
        labels = dict.fromkeys(label for table in site.gains for label in table.labels)
        yield render(
            "first_stages.html.jinja",
            PATH,
            section="index.html",
            tables=site.gains,
            get_data_path=get_data_path,
            sets=[(ALL, "all"), *((name, name) for name in sets)],
            rows=[(ALL, "all"), *((label, label) for label in labels)],
        )
