"""How a board looks where its address is shared: one sentence, and an image with its first rows."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.board import Board
from mrb.leaderboard.tables.cells import format_percent
from mrb.leaderboard.tables.rows import AVERAGE_TYPES, TableRow
from mrb.metrics.measures import HEADLINE

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

PATH = "preview.png"
WIDTH, HEIGHT = 1200, 630
"""Pixels: the size that sites which show previews expect."""
ROWS = 5
_LEFT, _BAR, _RIGHT, _TOP, _STEP = 60, 560, 1030, 232, 62
_LETTERS = 30
_TEXT, _QUIET, _ACCENT, _GREY, _GROUND = "#1a1d21", "#59616b", "#0b57a4", "#a9b0b9", "#ffffff"


def describe_board(site: Site) -> str:
    """Return one sentence on the board: what is on it, and who leads its first table."""
    count = len(site.runs)
    words = f"{count:,} model{'s' if count != 1 else ''} on multimodal retrieval, each on the same frozen candidates."
    board = next(iter(site.boards.values()), None)
    rows = list_leaders(board) if board else []
    if not board or not rows:
        return words
    first = _get_average(board.table.get_view(str(HEADLINE)).fixed[0])
    than = "" if first is None else f"; the first stage alone has {format_percent(first)}"
    name, mean = site.labels[rows[0][0]], rows[0][1]
    return f"{words} {board.table.comparison.title}: {name} leads with {HEADLINE} {format_percent(mean)}{than}."


def list_leaders(board: Board) -> list[tuple[str, float]]:
    """Return (name, average over types) of the table's first rows that have an average."""
    view = board.table.get_view(str(HEADLINE))
    found = ((run.name, _get_average(view.row(run.name))) for run in board.table.runs[:ROWS])
    return [(name, mean) for name, mean in found if mean is not None]


def _get_average(row: TableRow) -> float | None:
    cell = row.cells.get(AVERAGE_TYPES)
    return None if cell is None else cell.mean


def draw_preview(site: Site) -> bytes:
    """Return a PNG with the title and the first rows of the first table. A run's name has plain letters alone."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH, HEIGHT), _GROUND)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, WIDTH, 12), fill=_ACCENT)
    draw.text((_LEFT, 48), "MRB", fill=_ACCENT, font=_load_font(40))
    draw.text((_LEFT, 100), "Rerankers on multimodal retrieval", fill=_TEXT, font=_load_font(52))
    for board in list(site.boards.values())[:1]:
        notes = [board.table.comparison.title, f"{HEADLINE} x 100"]
        notes += [f"snapshot {site.snapshot}"] if site.snapshot else []
        notes += [f"newest result {site.day}"] if site.day else []
        draw.text((_LEFT, 172), "  |  ".join(notes), fill=_QUIET, font=_load_font(26))
        first = _get_average(board.table.get_view(str(HEADLINE)).fixed[0])
        rows = [(site.labels[name], mean, _ACCENT) for name, mean in list_leaders(board)]
        if first is not None:
            rows.append(("first stage", first, _GREY))
        for number, row in enumerate(rows):
            _draw_row(draw, _TOP + number * _STEP, *row)
    data = io.BytesIO()
    image.quantize(64).save(data, "PNG", optimize=True)
    return data.getvalue()


def _draw_row(draw: ImageDraw, top: int, name: str, mean: float, colour: str) -> None:
    shown = name if len(name) <= _LETTERS else name[: _LETTERS - 3] + "..."
    draw.text((_LEFT, top + 4), shown, fill=_TEXT, font=_load_font(30))
    draw.rectangle((_BAR, top, _BAR + 2 + round(mean * (_RIGHT - _BAR)), top + 40), fill=colour)
    draw.text((_RIGHT + 24, top + 4), format_percent(mean), fill=_TEXT, font=_load_font(30))


def _load_font(size: int) -> FreeTypeFont | ImageFont:
    """Return the font that comes with Pillow, in pixels."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
