"""The list of the board's models, and a page for each: what it is, how it was run, how it did on every task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mrb.leaderboard.page import Page, model_page, render
from mrb.leaderboard.rows import SOURCE, Cell, Column, Table
from mrb.leaderboard.site import Site
from mrb.metrics import HEADLINE
from mrb.summary import Run


@dataclass(frozen=True)
class TaskLine:
    """One task of a run: the list as it came, the run's order of it and the best one in the headline, and the run in
    the source's own measure."""

    column: Column
    first: Cell
    own: Cell
    oracle: Cell
    source: Cell
    source_measure: str


def pages(site: Site) -> Iterator[Page]:
    """`models.html` and `models/<name>.html`."""
    yield render("models.html.jinja", "models.html", site=site)
    for run in site.runs:
        table_id = site.table_of(run)
        table = site.tables[table_id]
        lines = task_lines(table, run)
        yield render(
            "model.html.jinja",
            model_page(run.name),
            run=run,
            card=site.cards[run.name],
            submission=site.submissions.get(run.name),
            table_id=table_id,
            table=table,
            lines=lines,
            other_measures=any(line.source_measure != str(HEADLINE) for line in lines),
            averages=averages(table, run),
        )


def task_lines(table: Table, run: Run) -> list[TaskLine]:
    """A line for each task of the run's table, those without a number too."""
    headline, source = table.view_of(str(HEADLINE)), table.view_of(SOURCE)
    own, own_source = headline.row(run.name), source.row(run.name)
    first, oracle = headline.fixed
    return [
        TaskLine(column, first.cells[key], own.cells[key], oracle.cells[key], own_source.cells[key], other.measure)
        for column, other in zip(headline.columns, source.columns, strict=True)
        for key in (column.key,)
    ]


def averages(table: Table, run: Run) -> list[tuple[str, Cell, Cell, Cell]]:
    """What is averaged over ("types", "tasks"), first stage, run, oracle; none where no suite fixes the tasks."""
    view = table.view_of(str(HEADLINE))
    first, oracle = view.fixed
    return [(name, first.cells[name], view.row(run.name).cells[name], oracle.cells[name]) for name in view.averages]
