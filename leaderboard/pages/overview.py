"""The overview: a section for each table with its views and plots, the runs, and what others report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mrb.leaderboard.page import Page, render
from mrb.leaderboard.plots import LEFT, MAX_ROWS, RIGHT, TOP, WIDTH, Panel, panels
from mrb.leaderboard.published import published
from mrb.leaderboard.rows import SOURCE, Table, View
from mrb.leaderboard.runs import RunCard
from mrb.leaderboard.site import Site
from mrb.metrics import HEADLINE

PATH = "index.html"


@dataclass(frozen=True)
class Section:
    """One table of the page with its plots. `types` is None where each type has one task: the table says it all."""

    id: str
    table: Table
    views: tuple[View, ...]
    panels: list[Panel]
    types: View | None
    cards: dict[str, RunCard]


def pages(site: Site) -> Iterator[Page]:
    """The one page."""
    sections = [_section(name, table, site) for name, table in site.tables.items()]
    measures = dict.fromkeys(view.measure for section in sections for view in section.views if view.measure != SOURCE)
    yield render(
        "index.html.jinja",
        PATH,
        sections=sections,
        measures=[str(HEADLINE), *(name for name in measures if name != str(HEADLINE))],
        published=published(),
        plot={"width": WIDTH, "left": LEFT, "right": RIGHT, "top": TOP, "rows": MAX_ROWS},
    )


def _section(name: str, table: Table, site: Site) -> Section:
    types = table.by_type()
    several = any(len(table.tasks_of(kind)) > 1 for kind in table.type_names)
    cards = {run.name: site.cards[run.name] for run in table.runs}
    return Section(name, table, table.views, panels(types), types if several else None, cards)
