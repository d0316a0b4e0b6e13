"""The overview: the first rows of every table, and its plots."""

from __future__ import annotations

from collections.abc import Iterator

from mrb.leaderboard.charts import axes
from mrb.leaderboard.charts.plots import LEFT, MAX_ROWS, RIGHT, TOP, WIDTH, make_panels
from mrb.leaderboard.charts.scatter import explain_missing, make_scatters
from mrb.leaderboard.page import Page, render
from mrb.leaderboard.pages.tables import Frame, list_choices
from mrb.leaderboard.preview import describe_board
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.board import PAGE_ROWS
from mrb.metrics.measures import HEADLINE

PATH = "index.html"
FEWER_ROWS = 15
"""Rows of a table on the overview after the first, which has those of a page; its own pages have all rows."""
PLOT = {"width": WIDTH, "left": LEFT, "right": RIGHT, "top": TOP, "rows": MAX_ROWS}

BOX = {
    "width": axes.WIDTH,
    "height": axes.HEIGHT,
    "left": axes.LEFT,
    "right": axes.RIGHT,
    "bottom": axes.BOTTOM,
}


def make_files(site: Site) -> Iterator[Page]:
    """Yield the one page."""
    frames = [
        Frame(board, board.tabs[0], str(HEADLINE), 0, FEWER_ROWS if number else PAGE_ROWS, PATH)
        for number, board in enumerate(site.boards.values())
    ]
    plots = {frame.board.id: make_scatters(frame.board) for frame in frames}
    yield render(
        "index.html.jinja",
        PATH,
        site=site,
        description=describe_board(site),
        frames=frames,
        snapshot=site.snapshot,
        dropped=site.dropped,
        several_sets={table.suite for table in site.gains},
        panels={frame.board.id: make_panels(frame.board.summaries[str(HEADLINE)], site.labels) for frame in frames},
        plots=plots,
        notes={frame.board.id: explain_missing(frame.board, plots[frame.board.id]) for frame in frames},
        plot=PLOT,
        box=BOX,
        **list_choices(frames),
    )
