"""Every table as files to download: CSV, JSON and LaTeX, and a citation of the board.

A cell that a spreadsheet would read as a formula is prefixed with a quote; LaTeX's special characters are escaped.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.metadata import version

from mrb import __version__
from mrb.leaderboard.page import Page
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.board import SUMMARY, TASKS, Board, Tab
from mrb.leaderboard.tables.cells import BLANK, CellText, escape_invisible
from mrb.leaderboard.tables.rows import Cell
from mrb.metrics.measures import HEADLINE

CITATION = "data/citation.bib"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_LATEX = {c: "\\" + c for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\u2212": "$-$",
    "–": "--",
    "✓": "",
    "◆": "",
    "○": "",
}
_LATEX_FACTS = ("rank", "parameters", "gain", "coverage")
LONG_FIELDS = ("run", "task", "measure", "mean", "low", "high", "gain", "note")


def pages(site: Site) -> Iterator[Page]:
    """Yield the files of every table, and the citation."""
    for board in site.boards.values():
        for tab in board.tabs:
            if tab.key in (SUMMARY, TASKS):
                yield Page(path(board, tab, "csv"), format_csv(board, tab).encode())
                yield Page(path(board, tab, "tex"), latex(board, tab).encode())
        yield Page(long_path(board, "csv"), long_csv(board).encode())
        yield Page(long_path(board, "json"), as_json(board).encode())
    yield Page(CITATION, citation().encode())


def path(board: Board, tab: Tab, suffix: str) -> str:
    """Return the path of a tab's file."""
    return f"data/tables/{board.id}/{tab.key}.{suffix}"


def long_path(board: Board, suffix: str) -> str:
    """Return the path of the file with every number of a table."""
    return f"data/tables/{board.id}/all.{suffix}"


@lru_cache(maxsize=2**14)
def plain(text: str) -> str:
    """Return a cell for a spreadsheet: no formula, no invisible character."""
    words = str(escape_invisible(text))
    return "'" + words if words.startswith(_FORMULA) and not _is_number(words) else words


def _is_number(words: str) -> bool:
    try:
        float(words)
    except ValueError:
        return False
    return True


def format_csv(board: Board, tab: Tab) -> str:
    """Return a tab as on the page, with unrounded fractions and intervals in separate columns."""
    view = board.view(tab.part, str(HEADLINE))
    keys = [head.key for head in tab.heads if head.key != "name"]
    numbers = {column.key for column in view.columns} | set(view.averages)
    head = ["reranker"]
    for key in keys:
        head += [key, f"{key} low", f"{key} high"] if key in numbers else [key]
    lines = [head]
    shown = {run.name: dict(zip(keys, cells, strict=True)) for run, cells in board.rows(tab, str(HEADLINE))}
    for row in (*view.fixed, *view.rows):
        line = [row.key]
        for key in keys:
            if key in numbers:
                line += _numbers(row.cells[key])
            else:
                cell = shown.get(row.key, {}).get(key)
                line.append(cell.text if cell and key == "rank" and cell.kind != BLANK else _fact(cell))
        lines.append(line)
    return _csv(lines)


def _numbers(cell: Cell) -> list[str]:
    return ["" if value is None else repr(float(value)) for value in (cell.mean, cell.low, cell.high)]


def _fact(cell: CellText | None) -> str:
    if cell is None or cell.kind == BLANK or cell.value is None:
        return ""
    return repr(cell.value) if isinstance(cell.value, float) and not cell.text.endswith(("B", "M", "k")) else cell.text


def _csv(lines: Iterable[Sequence[str | float | None]]) -> str:
    """Return CSV: texts made safe, numbers unrounded, None as an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [[plain(cell) if isinstance(cell, str) else cell for cell in line] for line in lines]
    )
    return text.getvalue()


def long_csv(board: Board) -> str:
    """Return every number of the table, one per line."""
    return _csv([LONG_FIELDS, *_long(board)])


def _long(board: Board) -> Iterator[tuple[str | float | None, ...]]:
    for measure in board.table.measures:
        view = board.table.view_of(measure)
        for row in (*view.fixed, *view.rows):
            for key, (mean, low, high, gain, _, note) in row.cells.items():
                yield row.key, key, measure, mean, low, high, gain, note


def as_json(board: Board) -> str:
    """Return the table as JSON: its conditions, every row with its facts, every number (fractions, null for none)."""
    comparison = board.table.comparison
    rows = {
        run.name: {
            key: {"text": escape_invisible(cell.text), "value": cell.value}
            for key, cell in board.facts[run.name].items()
        }
        | {"rank": [board.standing.ranks[run.name].best, board.standing.ranks[run.name].worst]}
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
        "numbers": list(_long(board)),
    }
    return json.dumps(value, ensure_ascii=True, allow_nan=False) + "\n"


def latex(board: Board, tab: Tab) -> str:
    """Return the tab in the headline measure as a `tabular` with booktabs: rank, size, numbers and coverage."""
    view = board.view(tab.part, str(HEADLINE))
    keys = [column.key for column in view.columns]
    wanted = [h for h in tab.heads[2:] if h.key in keys or h.key in view.averages or h.key in _LATEX_FACTS]
    places = {head.key: place for place, head in enumerate(h for h in tab.heads if h.key != "name")}
    lines = [
        "% " + tex(f"{board.table.comparison.title}, {HEADLINE} x 100, depth {board.table.comparison.depths}"),
        r"\begin{tabular}{rl" + "r" * len(wanted) + "}",
        r"\toprule",
        " & ".join(["rank", "reranker", *(tex(head.title) for head in wanted)]) + r" \\",
        r"\midrule",
    ]
    fixed = [(role, cells) for role, cells in board.fixed(tab, str(HEADLINE))]
    rows = [(run.name, cells) for run, cells in board.rows(tab, str(HEADLINE))]
    for number, (name, cells) in enumerate([*fixed, *rows]):
        if number == len(fixed):
            lines.append(r"\midrule")
        texts = [cells[0], *(cells[places[head.key]] for head in wanted)]
        first, *others = ["--" if cell.kind == BLANK else tex(cell.text) for cell in texts]
        lines.append(" & ".join([first, tex(name), *others]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def tex(text: str) -> str:
    """Return text escaped for LaTeX."""
    return "".join(_LATEX.get(letter, letter) for letter in str(escape_invisible(text)))


def citation() -> str:
    """Return BibTeX entries of this board with its version, and of the paper behind the benchmark."""
    return (
        "@misc{mrb,\n"
        "  title = {MRB: a benchmark for multimodal rerankers},\n  author = {{The MRB authors}},\n"
        f"  note = {{Version {version('mrb')}}}\n}}\n\n"
        "@misc{mrb-paper,\n"
        "  title = {Supervised Fine-Tuning or Contrastive Learning? Towards Better Multimodal LLM Reranking},\n"
        "  eprint = {2510.14824},\n  archivePrefix = {arXiv},\n"
        "  url = {https://arxiv.org/abs/2510.14824}\n}\n"
    )
