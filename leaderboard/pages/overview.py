"""The overview: the first rows of every table, and its plots."""

from __future__ import annotations

from collections.abc import Iterator

from mrb.leaderboard.charts import scatter
from mrb.leaderboard.charts.plots import LEFT, MAX_ROWS, RIGHT, TOP, WIDTH, make_panels
from mrb.leaderboard.charts.scatter import make_scatters
from mrb.leaderboard.page import Page, render
from mrb.leaderboard.pages.tables import Frame, list_choices
from mrb.leaderboard.preview import describe_board
from mrb.leaderboard.site import Site
from mrb.metrics.measures import HEADLINE

PATH = "index.html"
OVERVIEW_ROWS, FEWER_ROWS = 40, 15
"""Rows of a table on the overview if it is the only one, and if there are several; its own pages have all rows."""
PLOT = {"width": WIDTH, "left": LEFT, "right": RIGHT, "top": TOP, "rows": MAX_ROWS}

BOX = {
    "width": scatter.WIDTH,
    "height": scatter.HEIGHT,
    "left": scatter.LEFT,
    "right": scatter.RIGHT,
    "bottom": scatter.BOTTOM,
    "letters": scatter.LABEL_LETTERS,
}


def make_files(site: Site) -> Iterator[Page]:
    """Yield the one page."""
    fewer = len(site.boards) > 1
    frames = [
        Frame(board, board.tabs[0], str(HEADLINE), 0, FEWER_ROWS if fewer else OVERVIEW_ROWS, PATH)
        for board in site.boards.values()
    ]
    yield render(
        "index.html.jinja",
        PATH,
        site=site,
        description=describe_board(site),
        frames=frames,
        snapshot=site.snapshot,
        several_sets={table.suite for table in site.gains},
        panels={frame.board.id: make_panels(frame.board.summaries[str(HEADLINE)]) for frame in frames},
        plots={frame.board.id: make_scatters(frame.board) for frame in frames},
        plot=PLOT,
        box=BOX,
        **list_choices(frames),
    )
