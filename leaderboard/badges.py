"""Badges: what a model's page says in one line, for README files and other sites.

Each model has an SVG, and the same as JSON in the schema of shields.io's endpoint, which draws it in its own style.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from mrb._util.format import format_tasks
from mrb._util.model import Model
from mrb.leaderboard.page import load_macros
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.board import Board
from mrb.leaderboard.tables.cells import format_percent
from mrb.leaderboard.tables.rows import AVERAGE_TYPES
from mrb.metrics.measures import HEADLINE
from mrb.results.run import Run

_LETTER, _MARGIN = 6.4, 6
"""Pixels: the mean width of a letter at the badge's size, and the space beside a text. `textLength` makes it exact."""


class Badge(Model):
    """A badge in the schema of shields.io's endpoint (https://shields.io/badges/endpoint-badge)."""

    schema_version: Literal[1] = Field(default=1, alias="schemaVersion")
    label: str = Field(min_length=1)
    message: str = Field(min_length=1)
    color: Literal["blue", "lightgrey"]


@dataclass(frozen=True)
class Box:
    """One half of the drawn badge, in pixels."""

    text: str
    start: int
    width: int

    @property
    def text_width(self) -> int:
        """The width of the text."""
        return self.width - 2 * _MARGIN

    @property
    def middle(self) -> float:
        """Where the text is centred."""
        return self.start + self.width / 2


def get_badge_path(run_name: str, suffix: str) -> str:
    """Return the path of a run's badge; `suffix` is "svg" or "json"."""
    return f"badges/{run_name}.{suffix}"


def make_badge(site: Site, run: Run) -> Badge:
    """Return the badge of a run: its average over types and its rank in the suite, or in the first sub-suite of which
    it has an average; else how many tasks it has.
    """
    whole = site.boards[site.find_table(run)]
    for board in (whole, *(part for part in whole.parts if run.name in part.sources)):
        cell = board.table.get_view(str(HEADLINE)).row(run.name).cells.get(AVERAGE_TYPES)
        if cell is not None and cell.mean is not None:
            bounds, of = board.standing.ranks[run.name].bounds, board.standing.ranked
            rank = f" · rank {bounds} of {of}" if bounds and of > 1 else ""
            message = f"{HEADLINE} {format_percent(cell.mean)}{rank}"
            return Badge(label=_name_suite(board), message=message, color="blue")
    row = whole.table.get_view(str(HEADLINE)).row(run.name)
    return Badge(label=_name_suite(whole), message=f"{row.done} of {format_tasks(row.of)}", color="lightgrey")


def _name_suite(board: Board) -> str:
    suite = board.table.comparison.suite
    return f"MRB {suite.id}" if suite else "MRB"


def draw_badge(badge: Badge) -> bytes:
    """Return the badge as SVG."""
    label = _make_box(badge.label, 0)
    message = _make_box(badge.message, label.width)
    return str(load_macros("badge.svg.jinja").badge(badge, label, message)).encode()


def measure_badge(badge: Badge) -> int:
    """Return the drawn badge's width in pixels."""
    return sum(_make_box(text, 0).width for text in (badge.label, badge.message))


def _make_box(text: str, start: int) -> Box:
    return Box(text, start, round(_LETTER * len(text)) + 2 * _MARGIN)
