"""Distribution of a task's query values: for each run the share of queries per band, as numbers for an SVG and its
table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mrb.leaderboard.charts.axes import is_wide
from mrb.leaderboard.charts.types import x_of
from mrb.metrics.measures import HEADLINE
from mrb.results.run import Run

WIDTH, LEFT, RIGHT, TOP, ROW = 384, 8, 376, 2, 33
"""In SVG units. A row has two lines: the whole name, and below it the bar."""
MAX_ROWS = 20
"""Rows of the plot; its table has all."""
BANDS = ("100", "75 to under 100", "50 to under 75", "over 0 to under 50", "0")
"""Bands of a query's value × 100, best first. The bounds are in `_count_shares`."""
QUANTILES = (10, 25, 50, 75, 90)

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """One row: `shares` of the queries by band and `quantiles` of the values, both fractions.

    `run` is empty for the first stage's order.
    """

    label: str
    run: str
    queries: int
    shares: tuple[float, ...]
    quantiles: tuple[float, ...]


@dataclass(frozen=True)
class Bar:
    """One row of the plot: for each nonempty band its number, start and end."""

    spread: Spread
    y: float
    parts: tuple[tuple[int, float, float], ...]

    @property
    def is_wide(self) -> bool:
        """Whether the name is set into the plot's width."""
        return is_wide(self.spread.label, WIDTH)


@dataclass(frozen=True)
class SpreadPlot:
    """The plot and the table of one task in one table of the board.

    `missing` names the models without values per query; `left_out` counts the table's rows for which the plot has no
    room.
    """

    spreads: tuple[Spread, ...]
    bars: tuple[Bar, ...]
    missing: tuple[str, ...]
    left_out: int
    ticks: tuple[tuple[float, int], ...]
    bottom: float
    height: float


def make_spread_plot(
    runs: list[Run], task_id: str, first: Float64 | None = None, *, labels: Mapping[str, str]
) -> SpreadPlot | None:
    """Return the spread of the first stage's order and of `runs`; None if no run has values.

    `first` holds the first stage's values per query, if known; `runs` cover the task, in the order of the table, and
    `labels` are what they are called, by name.
    """
    spreads = [] if first is None else [make_spread("first stage", "", first)]
    missing: list[str] = []
    for run in runs:
        values = run.tasks[task_id].values.get(str(HEADLINE))
        if values is None:
            missing.append(labels[run.name])
        else:
            spreads.append(make_spread(labels[run.name], run.name, values))
    if len(missing) == len(runs):
        return None
    bars = tuple(_make_bar(one, TOP + ROW * place) for place, one in enumerate(spreads[:MAX_ROWS]))
    bottom = TOP + ROW * len(bars)
    ticks = tuple((x_of(tick / 100, LEFT, RIGHT), tick) for tick in (0, 25, 50, 75, 100))
    return SpreadPlot(tuple(spreads), bars, tuple(missing), max(0, len(spreads) - MAX_ROWS), ticks, bottom, bottom + 18)


def make_spread(label: str, run: str, values: Float64) -> Spread:
    """Return the shares by band and the quantiles (interpolated like numpy's) of values per query."""
    found = np.percentile(values, QUANTILES)
    return Spread(label, run, len(values), _count_shares(values), tuple(float(value) for value in found))


def _count_shares(values: Float64) -> tuple[float, ...]:
    # Sums of logarithms leave rounding errors just below 1 or above 0.
    rounded = np.round(values, 9)
    places = np.select([rounded >= 1, rounded >= 0.75, rounded >= 0.5, rounded > 0], [0, 1, 2, 3], 4)
    counts = np.bincount(places, minlength=len(BANDS))
    return tuple(float(count) / len(values) for count in counts)


def _make_bar(one: Spread, y: float) -> Bar:
    ends = np.cumsum((0.0, *one.shares))
    parts = [
        (band, x_of(float(ends[band]), LEFT, RIGHT), x_of(float(ends[band + 1]), LEFT, RIGHT))
        for band, share in enumerate(one.shares)
        if share > 0
    ]
    return Bar(one, y, tuple(parts))
