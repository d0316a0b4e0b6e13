"""Compare two to ten runs: `compare.html` with every pair of each table, and a page for each pair.

The script shows any other pair on `compare.html`, from that pair's section as HTML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mrb._util.format import format_p_value
from mrb.leaderboard.explorer import find_page, truncate
from mrb.leaderboard.page import Page, get_query_path, get_task_path, load_macros, render
from mrb.leaderboard.scripts import make_data_script
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.cells import format_percent, format_signed, gain_class, sign_class
from mrb.leaderboard.tables.pairs import MAX_RUNS, Line, Pair, Plot, compare_pairs, list_compared_runs
from mrb.leaderboard.tables.rankings import ExploredTask
from mrb.results.compare import QueryDifference
from mrb.results.run import Run


@dataclass(frozen=True)
class Row:
    """One row as text: its head, the path it links to ("" for none), its cells, and the sign of the difference."""

    head: str
    href: str
    cells: tuple[str, ...]
    sign: str


@dataclass(frozen=True)
class PairView:
    """A pair as text; `base` and `other` are the runs' names, of which paths are made."""

    base: str
    other: str
    base_label: str
    other_label: str
    averages: tuple[Row, ...]
    tasks: tuple[Row, ...]
    wins: tuple[Row, ...]
    losses: tuple[Row, ...]
    plots: tuple[Plot, ...]


@dataclass(frozen=True)
class Compared:
    """A table's pairs: its compared runs, in its order, and each pair's cell of the matrix by (base, other).

    `able` counts the runs that could be compared, `of` all runs.
    """

    title: str
    runs: tuple[Run, ...]
    cells: Mapping[tuple[str, str], Row]
    able: int
    of: int


def make_files(site: Site) -> Iterator[Page]:
    """Yield `data/compare/<base>/<other>.js` and `compare/<base>/<other>.html` for each pair, and `compare.html`."""
    tables: list[Compared] = []
    # The best two whose results differ: not a run and its submission.
    first: PairView | None = None
    differs = False
    for table_id, table in site.tables.items():
        # The queries of another table are on other lists.
        known = {task_id: one for task_id, one in site.explored.items() if one.table_id == table_id}
        runs = list_compared_runs(table)
        cells: dict[tuple[str, str], Row] = {}
        for pair in compare_pairs(runs):
            view = make_pair_view(pair, known, site.labels)
            if first is None or (not differs and pair.main.gain.difference != 0):
                first, differs = view, pair.main.gain.difference != 0
            cells[pair.base, pair.other] = _make_matrix_cell(pair)
            yield make_data_script(
                f"compare/{pair.base}/{pair.other}", load_macros("pair.html.jinja").pair(view, "pair-1")
            )
            yield render("compare_pair.html.jinja", get_pair_path(pair.base, pair.other), pair=view)
        shown = tuple(runs[:MAX_RUNS])
        tables.append(Compared(table.comparison.title, shown, cells, len(runs), len(table.runs)))
    common: dict[str, Any] = {"max_runs": MAX_RUNS, "get_pair_path": get_pair_path, "labels": site.labels}
    yield make_data_script("compared", [_list_compared(table) for table in tables])
    yield render("compare.html.jinja", "compare.html", tables=tables, first=first, **common)


def _list_compared(table: Compared) -> dict[str, list[str]]:
    """Return the runs that have pair pages, in their order, and the pairs of them that have none."""
    names = [run.name for run in table.runs]
    pairs = [(base, other) for place, base in enumerate(names) for other in names[:place]]
    return {"names": names, "missing": [f"{base}/{other}" for base, other in pairs if (base, other) not in table.cells]}


def get_pair_path(base: str, other: str) -> str:
    """Return the path of a pair's page.

    A folder separates the names: it cannot be mistaken for part of a run's name.
    """
    return f"compare/{base}/{other}.html"


def make_pair_view(pair: Pair, known: Mapping[str, ExploredTask], labels: Mapping[str, str]) -> PairView:
    """Return the pair as text; `labels` are what the runs are called, by name."""
    averages = tuple(_make_row(line, f"average over {line.key}", "") for line in pair.averages)
    tasks = tuple(_make_row(line, line.key, get_task_path(line.key)) for line in pair.tasks)
    wins, losses = (
        tuple(_make_query_row(one, pair.other, known.get(one.task)) for one in some)
        for some in (pair.wins, pair.losses)
    )
    names = labels[pair.base], labels[pair.other]
    return PairView(pair.base, pair.other, *names, averages, tasks, wins, losses, pair.plots)


def _make_row(line: Line, head: str, href: str) -> Row:
    counts = ("", "", "") if line.counts is None else tuple(str(count) for count in line.counts)
    gain = line.gain
    interval = f"{format_signed(gain.low)} to {format_signed(gain.high)}"
    means = (format_percent(line.base), format_percent(line.other))
    p_values = (format_p_value(gain.p), format_p_value(gain.p_corrected))
    return Row(head, href, (*means, format_signed(gain.difference), interval, *p_values, *counts), gain_class(gain))


def _make_query_row(one: QueryDifference, other: str, shown: ExploredTask | None) -> Row:
    """Return a query with its two values; if the explorer has it, with its text and a link to it."""
    head, href = one.query_id, ""
    if shown is not None and one.query_id in shown.plan.query_ids:
        number = shown.plan.query_ids.index(one.query_id) + 1
        text = truncate(shown.plan.data.queries.item(one.query_id).text, 80)
        head = text or (one.query_id if shown.packed else f"query {number}")
        chosen = f"?run={other}" if other in {run.name for run in shown.runs} else ""
        href = f"{get_query_path(one.task, find_page(number))}{chosen}#q{number}"
    cells = (one.task, format_percent(one.base), format_percent(one.other), format_signed(one.difference))
    return Row(head, href, cells, sign_class(one.difference))


def _make_matrix_cell(pair: Pair) -> Row:
    gain = pair.main.gain
    counts = [one.counts for one in pair.tasks if one.counts is not None]
    won, tied, lost = (sum(column) for column in zip(*counts, strict=True))
    wins = f"{(won + tied / 2) / (won + tied + lost):.2f}"
    cells = (format_p_value(gain.p), format_p_value(gain.p_corrected), str(len(pair.tasks)), wins)
    return Row(format_signed(gain.difference), "", cells, gain_class(gain))
