"""The pages of each table, one or more per tab, and its rows as data for the script."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from mrb.leaderboard.page import Page, render
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.board import PAGE_ROWS, SUMMARY, TASKS, Board, Tab
from mrb.leaderboard.tables.columns import MARK_LETTERS, MARK_WORDS


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
    def up(self) -> str:
        """The relative path from the page to the site's root."""
        return "../" * self.path.count("/")

    @property
    def id(self) -> str:
        """The table's id on the page."""
        return f"{self.board.id}-{self.tab.key}"

    @property
    def fixed(self) -> Markup:
        """The rows of first stage and oracle; their content was escaped when they were made."""
        return Markup(self.board.fixed_html(self.up, self.tab, self.measure))  # noqa: S704

    @property
    def rows(self) -> Markup:
        """The rows; their content was escaped when they were made."""
        return Markup(self.board.html(self.up, self.tab, self.measure, self.start, self.size))  # noqa: S704

    @property
    def total(self) -> int:
        """The table's number of rows."""
        return len(self.board.table.runs)

    @property
    def pages(self) -> list[str]:
        """The tab's pages."""
        return self.board.pages(self.tab, self.measure)

    @property
    def measures(self) -> list[str]:
        """The measures that the script may show here."""
        return [name for name in self.board.measures if self.tab.part == TASKS or name in self.board.summaries]


def pages(site: Site) -> Iterator[Page]:
    """Yield data and pages of every table."""
    for board in site.boards.values():
        yield from _data(board)
        yield from _tables(board)


def _data(board: Board) -> Iterator[Page]:
    parts = dict.fromkeys(tab.part for tab in board.tabs)
    for part in parts:
        for measure in board.measures if part == TASKS else board.summaries:
            path = board.data_path(part, measure)
            text = json.dumps(board.data(part, measure), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
            yield Page(path, f'BOARD_ROWS.add("{path}",{text});\n'.encode())


def _tables(board: Board) -> Iterator[Page]:
    yield render("columns.html.jinja", f"tables/{board.id}/columns.html", section="index.html", board=board)
    for tab in board.tabs:
        for measure in board.measures_of(tab):
            for number, path in enumerate(board.pages(tab, measure)):
                frame = Frame(board, board.tab_of(tab, measure), measure, number * PAGE_ROWS, PAGE_ROWS, path)
                yield render(
                    "tables.html.jinja", path, section="index.html", frame=frame, number=number + 1, **choices([frame])
                )


def choices(frames: list[Frame]) -> dict[str, Any]:
    """Return what the controls of a page offer, and the words of its marks."""
    measures = dict.fromkeys(name for frame in frames for name in frame.measures)
    return {
        "measures": list(measures),
        "marks": [(MARK_LETTERS[mark], words) for mark, words in MARK_WORDS.items()],
        "summary": SUMMARY,
    }
