"""The pages of each table, one or more per tab, and its rows as data for the script."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mrb.leaderboard.page import Page, render
from mrb.leaderboard.scripts import make_data_script
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables import finding
from mrb.leaderboard.tables.board import PAGE_ROWS, SUMMARY, TASKS, Board, Tab, slugify
from mrb.leaderboard.tables.cells import CellText
from mrb.leaderboard.tables.fact_columns import CONFLICT_LETTER, CONFLICT_WORDS, MARK_LETTERS, MARK_WORDS
from mrb.leaderboard.tables.runs import RunCard


@dataclass(frozen=True)
class Frame:
    """What a page shows of a table: rows `start` to `start + size` of a tab in a measure, and the tab's other pages."""

    board: Board
    tab: Tab
    measure: str
    start: int
    size: int
    path: str

    @property
    def id(self) -> str:
        """The table's id on the page."""
        return f"{self.board.id}-{self.tab.key}"

    @property
    def fixed(self) -> list[tuple[str, list[CellText]]]:
        """The rows of first stage and oracle: role and cells."""
        return self.board.make_fixed_rows(self.tab, self.measure)

    @property
    def rows(self) -> Iterator[tuple[RunCard, list[tuple[str, str]], list[CellText]]]:
        """The rows: the run's card, what its row says below the name, and its cells."""
        for run, cells in self.board.iterate_rows(self.tab, self.measure, self.start, self.start + self.size):
            yield self.board.sources[run.name].card, self.board.notes[run.name], cells

    @property
    def rows_key(self) -> str:
        """The start of the keys of the data with all rows; the measure follows."""
        return make_rows_key(self.board, self.tab.part, "")

    @property
    def total(self) -> int:
        """The table's number of rows."""
        return len(self.board.table.runs)

    @property
    def pages(self) -> list[str]:
        """The tab's pages."""
        return self.board.list_pages(self.tab, self.measure)

    @property
    def measures(self) -> list[str]:
        """The measures that the script may show here."""
        return [name for name in self.board.measures if self.tab.part == TASKS or name in self.board.summaries]


def make_files(site: Site) -> Iterator[Page]:
    """Yield data and pages of every table."""
    for board in site.iterate_boards():
        yield from _make_data(board)
        yield from _make_tables(board)


def _make_data(board: Board) -> Iterator[Page]:
    parts = dict.fromkeys(tab.part for tab in board.tabs)
    for part in parts:
        for measure in board.measures if part == TASKS else board.summaries:
            yield make_data_script(make_rows_key(board, part, measure), board.make_data(part, measure))


def _make_tables(board: Board) -> Iterator[Page]:
    yield render("columns.html.jinja", f"tables/{board.id}/columns.html", section="index.html", board=board)
    for tab in board.tabs:
        for measure in board.list_measures(tab):
            for number, path in enumerate(board.list_pages(tab, measure)):
                frame = Frame(board, board.make_tab(tab, measure), measure, number * PAGE_ROWS, PAGE_ROWS, path)
                yield render(
                    "tables.html.jinja",
                    path,
                    section="index.html",
                    frame=frame,
                    number=number + 1,
                    **list_choices([frame]),
                )


def make_rows_key(board: Board, part: str, measure: str) -> str:
    """Return the key of the data that holds all rows of a part in a measure."""
    return f"rows/{board.id}/{part}-{slugify(measure)}"


def list_choices(frames: list[Frame]) -> dict[str, Any]:
    """Return what the controls of a page offer, and the words of its marks."""
    measures = dict.fromkeys(name for frame in frames for name in frame.measures)
    return {
        "measures": list(measures),
        "choices": finding.list_choices(frame.board.facets.values() for frame in frames),
        "marks": [
            *((MARK_LETTERS[mark], words) for mark, words in MARK_WORDS.items()),
            (CONFLICT_LETTER, CONFLICT_WORDS),
        ],
        "summary": SUMMARY,
    }
