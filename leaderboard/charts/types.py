"""A model's plot: for each type a dot with its interval, between first stage and oracle, as numbers for an SVG."""

from __future__ import annotations

from dataclasses import dataclass

from mrb.leaderboard.tables.rows import Cell, View

WIDTH, LEFT, RIGHT, TOP, ROW = 384, 64, 324, 8, 21
"""In SVG units: as wide as a phone, so that text stays readable there."""
TICKS = (0, 25, 50, 75, 100)


@dataclass(frozen=True)
class TypeMark:
    """One type: positions in SVG units, and the cells they show.

    `x` and the ends of the interval are None if the model has no number.
    """

    type: str
    tasks: str
    y: float
    first_x: float
    oracle_x: float
    x: float | None
    low: float | None
    high: float | None
    first: Cell
    own: Cell
    oracle: Cell


@dataclass(frozen=True)
class TypePlot:
    """The plot of one model. `ticks` are positions with their labels."""

    marks: tuple[TypeMark, ...]
    ticks: tuple[tuple[float, int], ...]
    bottom: float
    height: float


def make_type_plot(view: View, key: str) -> TypePlot | None:
    """Return the plot of the row `key` of a view of types; None if no type has a first stage and an oracle."""
    first, oracle = view.fixed
    own = view.row(key)
    marks: list[TypeMark] = []
    for column in view.columns:
        cells = (first.cells[column.key], own.cells[column.key], oracle.cells[column.key])
        if cells[0].mean is not None and cells[2].mean is not None:
            y = TOP + ROW * (len(marks) + 0.5)
            marks.append(_make_mark(column.key, column.title, y, *cells))
    if not marks:
        return None
    bottom = TOP + ROW * len(marks)
    return TypePlot(tuple(marks), tuple((x_of(tick / 100), tick) for tick in TICKS), bottom, bottom + 18)


def x_of(fraction: float, left: float = LEFT, right: float = RIGHT) -> float:
    """Return the position of a fraction between `left` and `right`."""
    return round(left + fraction * (right - left), 1)


def _make_mark(name: str, tasks: str, y: float, first: Cell, own: Cell, oracle: Cell) -> TypeMark:
    assert first.mean is not None and oracle.mean is not None
    x, low, high = (None if value is None else x_of(value) for value in (own.mean, own.low, own.high))
    return TypeMark(name, tasks, y, x_of(first.mean), x_of(oracle.mean), x, low, high, first, own, oracle)
