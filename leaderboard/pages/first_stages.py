"""What models add to several first stages: a page, if runs of a suite are on the lists of several candidate sets."""

from __future__ import annotations

from collections.abc import Iterator

from mrb.leaderboard.page import Page, render
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.gains import GainTable
from mrb.results.first_stages_table import format_gains_csv

PATH = "first-stages.html"
ALL = "", "all"
"""The option of parts.js that hides nothing."""


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
            sets=[ALL, *((name, name) for name in sets)],
            labels=_name_models(site),
            rows=[*((label, label) for label in labels), ALL],
        )


def _name_models(site: Site) -> dict[str, str]:
    """Return what each model is called, by its name, which is that of its submissions without the candidate set."""
    found = {}
    for one in (one for table in site.gains for one in table.gains.rerankers):
        card = site.cards[next(iter(one.runs.values()))]
        start = f"{card.organisation}__"
        own = card.organisation and one.name.startswith(start)
        found[one.name] = (
            f"{one.name.removeprefix(start).replace('__', ' ')} ({card.organisation})" if own else one.name
        )
    return found
