"""Plots per type: a panel of intervals between the first stage and the oracle, as numbers for an SVG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mrb.leaderboard.charts.axes import is_wide
from mrb.leaderboard.tables.rows import Cell, View

MAX_ROWS = 10
"""Models in a panel; more would be unreadable. The page says so, and the tables have all."""
WIDTH, LEFT, RIGHT, TOP, ROW = 384, 8, 328, 4, 33
"""In SVG units. A row has two lines: the whole name, and below it the dot with its interval."""


@dataclass(frozen=True)
class Mark:
    """One model in a panel: positions in SVG units, and its cell for the text alternative.

    `is_wide` says that its name is set into the panel's width.
    """

    key: str
    is_wide: bool
    y: float
    x: float
    low: float
    high: float
    cell: Cell


@dataclass(frozen=True)
class Panel:
    """One type: marks for the models that have a number, lines for the first stage and the oracle."""

    type: str
    tasks: str
    first: Cell
    oracle: Cell
    first_x: float
    oracle_x: float
    bottom: float
    height: float
    ticks: tuple[tuple[float, int], ...]
    marks: tuple[Mark, ...]
    missing: tuple[str, ...]


def make_panels(view: View, labels: Mapping[str, str]) -> list[Panel]:
    """Return a panel for each column of one type whose first stage and oracle are known.

    `labels` are what the models are called, by name.
    """
    typed = [column for column in view.columns if column.type]
    made = (_make_panel(view, column.key, column.title, labels) for column in typed)
    return [panel for panel in made if panel is not None]


def _make_panel(view: View, key: str, tasks: str, labels: Mapping[str, str]) -> Panel | None:
    first, oracle = (row.cells[key] for row in view.fixed)
    if first.mean is None or oracle.mean is None:
        return None
    shown = view.rows[:MAX_ROWS]
    marks: list[Mark] = []
    for row in shown:
        cell = row.cells[key]
        if cell.mean is None:
            continue
        low, high = (cell.mean if end is None else end for end in (cell.low, cell.high))
        y = TOP + ROW * (len(marks) + 0.75)
        wide = is_wide(labels[row.key], WIDTH)
        marks.append(Mark(row.key, wide, y, _place(cell.mean), _place(low), _place(high), cell))
    bottom = TOP + ROW * max(len(marks), 1)
    return Panel(
        type=key,
        tasks=tasks,
        first=first,
        oracle=oracle,
        first_x=_place(first.mean),
        oracle_x=_place(oracle.mean),
        bottom=bottom,
        height=bottom + 20,
        ticks=tuple((_place(percent / 100), percent) for percent in (0, 25, 50, 75, 100)),
        marks=tuple(marks),
        missing=tuple(row.key for row in shown if row.cells[key].mean is None),
    )


def _place(fraction: float) -> float:
    return round(LEFT + fraction * (RIGHT - LEFT), 1)
