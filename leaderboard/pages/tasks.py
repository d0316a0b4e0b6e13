"""The list of tasks, and a page for each with all runs on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mrb.data.report import NEVER, came_from_live_hub
from mrb.data.task import Task
from mrb.leaderboard.charts.queries import BANDS, QUANTILES, WIDTH, SpreadPlot, make_spread_plot
from mrb.leaderboard.examples import load_examples
from mrb.leaderboard.images import ImageStore
from mrb.leaderboard.page import Page, get_task_path, render
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.per_query_cache import compute_first_stage_values
from mrb.leaderboard.tables.rows import SOURCE, Table, TableRow
from mrb.leaderboard.tables.table_grouping import Identity, TableGroup
from mrb.metrics.measures import HEADLINE

PLOT = {"width": WIDTH, "bands": BANDS, "quantiles": QUANTILES}


@dataclass(frozen=True)
class TaskTable:
    """One task in one table of the board: a column per measure, a row per run.

    Rows are ordered by the headline on this task, blanks last. The cells of a row are by measure. `spread` is None if
    no values per query are available.
    """

    table_id: str
    task_id: str
    comparison: TableGroup
    identity: Identity
    measures: tuple[str, ...]
    fixed: tuple[TableRow, ...]
    rows: tuple[TableRow, ...]
    spread: SpreadPlot | None


def make_files(site: Site) -> Iterator[Page]:
    """Yield `tasks.html`, `tasks/<id>.html`, and the images of their examples."""
    covered = {task.id: sum(task.id in run.tasks for run in site.runs) for task in site.tasks}
    yield render("tasks.html.jinja", "tasks.html", site=site, covered=covered)
    images = ImageStore()
    gained = {task_id for table in site.gains for task_id in table.task_ids}
    for task in site.tasks:
        shown = load_examples(task, images)
        tables = [
            make_task_table(name, table, task.id, site.labels) for name, table in site.list_tables(task.id).items()
        ]
        names = _name_lists(tables)
        yield from images.take_new()
        yield render(
            "task.html.jinja",
            get_task_path(task.id),
            site=site,
            task=task,
            tables=tables,
            parts=[("list", "Candidate list", [("", "all"), *names.items()])] if len(tables) > 1 else [],
            names=names,
            gained=task.id in gained,
            examples=shown,
            explored=site.explored.get(task.id),
            never_live=_note_never_live(task),
            plot=PLOT,
        )


def _name_lists(tables: Sequence[TaskTable]) -> dict[str, str]:
    """Return what tells each table's list from the others on the page, by the id of the table."""
    found = {}
    for table in tables:
        made = table.comparison.reference[table.task_id][1].result.candidates
        found[table.table_id] = f"{made.track}, {made.first_stage}, {made.depth} candidates"
    words = list(found.values())
    return {key: text if words.count(text) == 1 else f"{text} ({key})" for key, text in found.items()}


def _note_never_live(task: Task) -> str:
    """Return a note if a Hub task's definition has never been tried on the Hub; otherwise empty."""
    return "" if task.source.kind != "hub" or came_from_live_hub(task) else NEVER


def make_task_table(table_id: str, table: Table, task_id: str, labels: Mapping[str, str]) -> TaskTable:
    """Return the task's column of `table` in every measure. Raises KeyError if no run of the table covers the task."""
    views = [view for view in table.views if view.measure != SOURCE]
    headline = table.get_view(str(HEADLINE))

    def turned(rows: list[TableRow]) -> TableRow:
        """Return one row from the same row of every view."""
        cells = {view.measure: row.cells[task_id] for view, row in zip(views, rows, strict=True)}
        return replace(rows[0], cells=cells)

    def place(row: TableRow) -> tuple[bool, float, str]:
        mean = row.cells[str(HEADLINE)].mean
        return (mean is None, -(mean or 0.0), row.key)

    fixed = (turned([view.fixed[number] for view in views]) for number in range(len(headline.fixed)))
    rows = sorted((turned([view.row(row.key) for view in views]) for row in headline.rows), key=place)
    runs = {run.name: run for run in table.runs if task_id in run.tasks}
    return TaskTable(
        table_id,
        task_id,
        table.comparison,
        table.comparison.identities[task_id],
        tuple(view.measure for view in views),
        tuple(fixed),
        tuple(rows),
        make_spread_plot(
            [runs[row.key] for row in rows if row.key in runs],
            task_id,
            compute_first_stage_values(table.comparison, task_id),
            labels=labels,
        ),
    )
