"""Every table as files to download: CSV, JSON and LaTeX, and a citation of the board.

A cell that a spreadsheet would read as a formula is prefixed with a quote; LaTeX's special characters are escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache

from mrb import __version__
from mrb._util.format import escape_latex, format_csv_table, format_latex_table
from mrb.leaderboard.board_summary import PATH as SUMMARY_PATH
from mrb.leaderboard.board_summary import summarize_site
from mrb.leaderboard.citation import format_citation
from mrb.leaderboard.page import Page
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.board import SUMMARY, TASKS, Board, Tab
from mrb.leaderboard.tables.cells import BLANK, CellText, escape_invisible
from mrb.leaderboard.tables.rows import Cell
from mrb.metrics.measures import HEADLINE
from mrb.results.hub_metadata import format_eval_results

CITATION = "data/citation.bib"
_MARKS = str.maketrans("", "", "✓◆○")
_ENDS = (("low", "high"), ("best", "worst"))
_LATEX_FACTS = ("rank", "parameters", "gain", "coverage")
LONG_FIELDS = ("model", "task", "measure", "mean", "low", "high", "gain", "note")


def make_files(site: Site) -> Iterator[Page]:
    """Yield the files of every table, and the citation."""
    for board in site.iterate_boards():
        for tab in board.tabs:
            if tab.key in (SUMMARY, TASKS):
                yield Page(get_path(board, tab, "csv"), format_csv(board, tab).encode())
                yield Page(get_path(board, tab, "tex"), format_latex(board, tab).encode())
        yield Page(get_long_path(board, "csv"), format_long_csv(board).encode())
        yield Page(get_long_path(board, "json"), format_json(board).encode())
    yield Page(SUMMARY_PATH, f"{summarize_site(site).model_dump_json()}\n".encode())
    for run in site.runs if site.benchmark else ():
        yield Page(get_eval_results_path(run.name), format_eval_results(run, site.benchmark, str(HEADLINE)).encode())
    yield Page(CITATION, format_citation(site).encode())


def get_eval_results_path(run_name: str) -> str:
    """Return the path of a run's file for the folder `.eval_results` of a model's repository."""
    return f"data/eval-results/{run_name}.yaml"


def get_path(board: Board, tab: Tab, suffix: str) -> str:
    """Return the path of a tab's file."""
    return f"data/tables/{board.id}/{tab.key}.{suffix}"


def get_long_path(board: Board, suffix: str) -> str:
    """Return the path of the file with every number of a table."""
    return f"data/tables/{board.id}/all.{suffix}"


def format_csv(board: Board, tab: Tab) -> str:
    """Return a tab as on the page, with unrounded fractions and intervals in separate columns."""
    view = board.get_view(tab.part, str(HEADLINE))
    keys = [head.key for head in tab.heads if head.key != "name"]
    numbers = {column.key for column in view.columns} | set(view.averages)
    head = ["model"]
    for key in keys:
        head += [key, *(f"{key} {end}" for end in _ENDS[key == "rank"] if key == "rank" or key in numbers)]
    lines: list[list[str | float | None]] = [[*head]]
    shown = {run.name: dict(zip(keys, cells, strict=True)) for run, cells in board.iterate_rows(tab, str(HEADLINE))}
    for row in (*view.fixed, *view.rows):
        line: list[str | float | None] = [_plain(row.key)]
        for key in keys:
            if key in numbers:
                line += _format_numbers(row.cells[key])
            elif key == "rank":
                rank = board.standing.ranks.get(row.key)
                line += [rank.position, *rank.as_json()] if rank else [None] * 3
            else:
                line.append(_format_fact(shown.get(row.key, {}).get(key)))
        lines.append(line)
    return format_csv_table(lines)


def _format_numbers(cell: Cell) -> list[float | None]:
    return [None if value is None else float(value) for value in (cell.mean, cell.low, cell.high)]


def _format_fact(cell: CellText | None) -> str | float:
    if cell is None or cell.kind == BLANK or cell.value is None:
        return ""
    return (
        cell.value if isinstance(cell.value, float) and not cell.text.endswith(("B", "M", "k")) else _plain(cell.text)
    )


@lru_cache(maxsize=2**14)
def _plain(text: str) -> str:
    return str(escape_invisible(text))


def format_long_csv(board: Board) -> str:
    """Return every number of the table, one per line."""
    rows = (
        (_plain(row), _plain(key), _plain(measure), *numbers, _plain(note))
        for row, key, measure, *numbers, note in _list_numbers(board)
    )
    return format_csv_table([LONG_FIELDS, *rows])


def _list_numbers(
    board: Board,
) -> Iterator[tuple[str, str, str, float | None, float | None, float | None, float | None, str]]:
    """Yield every number of the table: LONG_FIELDS."""
    for measure in board.table.measures:
        view = board.table.get_view(measure)
        for row in (*view.fixed, *view.rows):
            for key, (mean, low, high, gain, _, note) in row.cells.items():
                yield row.key, key, measure, mean, low, high, gain, note


def format_json(board: Board) -> str:
    """Return the table as JSON: its conditions, every row with its facts, every number (fractions, null for none)."""
    comparison = board.table.comparison
    rows = {
        run.name: {
            key: {"text": escape_invisible(cell.text), "value": cell.value}
            for key, cell in board.facts[run.name].items()
        }
        | {"rank": board.standing.ranks[run.name].as_json(), "position": board.standing.ranks[run.name].position}
        for run in board.table.runs
    }
    value = {
        "schema_version": 1,
        "mrb_version": __version__,
        "table": board.id,
        "suite": comparison.suite.id if comparison.suite else None,
        "suite_version": comparison.suite.version if comparison.suite else None,
        "depths": comparison.depths,
        "tracks": comparison.tracks,
        "rows": rows,
        "fields": LONG_FIELDS,
        "numbers": list(_list_numbers(board)),
    }
    return json.dumps(value, ensure_ascii=True, allow_nan=False) + "\n"


def format_latex(board: Board, tab: Tab) -> str:
    """Return the tab in the headline measure as a `tabular` with booktabs: rank, size, numbers and coverage."""
    view = board.get_view(tab.part, str(HEADLINE))
    keys = [column.key for column in view.columns]
    wanted = [h for h in tab.heads[2:] if h.key in keys or h.key in view.averages or h.key in _LATEX_FACTS]
    places = {head.key: place for place, head in enumerate(h for h in tab.heads if h.key != "name")}
    head = ["rank", "model", *(_escape(head.title) for head in wanted)]
    fixed = [(role, cells) for role, cells in board.make_fixed_rows(tab, str(HEADLINE))]
    rows = [(run.name, cells) for run, cells in board.iterate_rows(tab, str(HEADLINE))]

    def line(name: str, cells: Sequence[CellText]) -> list[str]:
        texts = [cells[0], *(cells[places[head.key]] for head in wanted)]
        first, *others = ["--" if cell.kind == BLANK else _escape(cell.text) for cell in texts]
        return [first, _escape(name), *others]

    blocks = [[line(name, cells) for name, cells in group] for group in (fixed, rows)]
    title = _escape(f"{board.table.comparison.title}, {HEADLINE} x 100, depth {board.table.comparison.depths}")
    return f"% {title}\n" + format_latex_table("rl" + "r" * len(wanted), [[head], *blocks])


def _escape(text: str) -> str:
    return escape_latex(_plain(text).translate(_MARKS))
