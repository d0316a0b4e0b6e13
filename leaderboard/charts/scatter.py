"""Plots of a table's averages: score against size and against speed, gain against depth, as numbers for an SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mrb.leaderboard.tables.board import Board
from mrb.leaderboard.tables.cells import format_signed
from mrb.leaderboard.tables.columns import format_parameters, format_speed
from mrb.leaderboard.tables.rows import AVERAGE_TYPES
from mrb.metrics.measures import HEADLINE
from mrb.results.run import Run

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 300, 44, 448, 10, 256
MOST = 40
"""Rerankers in a plot, the best by average; the tables have all."""
LINES = 6
LABEL_LETTERS = 26
# Width of a label's letter and height of its line in SVG units, and the x beyond which it stands left of its point.
_LETTER, _LINE, _TURN = 6.4, 11.0, 300


@dataclass(frozen=True)
class Point:
    """One reranker: its position in the SVG, its numbers as text, and whether it is on the Pareto front (`front`).

    If it is `named`, `label` gives x and y of the label's end next to the point, and which end that is.
    """

    key: str
    x: float
    y: float
    x_text: str
    y_text: str
    front: bool = False
    named: bool = False
    label: tuple[float, float, Literal["start", "end"]] = (0.0, 0.0, "start")


@dataclass(frozen=True)
class Scatter:
    """A plot: `lines` are one path each, joining the points of the front or of each series.

    `beside` are rerankers without a position on the x axis.
    """

    id: str
    title: str
    x_title: str
    y_title: str
    points: tuple[Point, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[str, ...]
    beside: tuple[tuple[str, str], ...]
    beside_words: str
    left_out: int


def make_scatters(board: Board) -> list[Scatter]:
    """Return the plots of a table that has averages, without plots that have no point."""
    if board.table.comparison.suite is None:
        return []
    view = board.summaries[str(HEADLINE)]
    scores = {row.key: cell.mean for row in view.rows if (cell := row.cells[AVERAGE_TYPES]).mean is not None}

    def of(name: str) -> float | None:
        model = board.sources[name].submission
        return float(model.model.parameters) if model and model.model.parameters else None

    made = [
        _make_scatter(
            board, "size", "Score against size", "parameters", scores, of, lambda v: format_parameters(int(v)), True
        ),
        _make_scatter(
            board,
            "speed",
            "Score against speed",
            "pairs per second, each on its own machine",
            scores,
            lambda name: board.sources[name].card.pairs_per_second,
            format_speed,
            False,
        ),
        _plot_depths(board, scores),
    ]
    return [plot for plot in made if plot is not None]


def _make_scatter(
    board: Board,
    kind: str,
    title: str,
    x_title: str,
    scores: dict[str, float],
    x_of: Callable[[str], float | None],
    words: Callable[[float], str],
    small_is_good: bool,
) -> Scatter | None:
    known = [(name, x, score) for name, score in scores.items() if (x := x_of(name)) is not None and x > 0]
    beside = tuple((name, f"{100 * score:.2f}") for name, score in scores.items() if not x_of(name))[:MOST]
    if not known:
        return None
    shown = known[:MOST]
    x_axis, x_ticks = _make_log_axis([x for _, x, _ in shown], words)
    y_axis, y_ticks = _make_axis([score for *_, score in shown])
    front = _find_front(shown, small_is_good)
    points = place_labels(
        [
            Point(name, x_axis(x), y_axis(y), words(x), f"{100 * y:.2f}", name in front, name in front)
            for name, x, y in shown
        ]
    )
    path = "M" + "L".join(f"{p.x} {p.y}" for p in sorted((p for p in points if p.front), key=lambda p: p.x))
    return Scatter(
        f"{board.id}-{kind}",
        title,
        x_title,
        f"{HEADLINE} × 100, average over types",
        points,
        x_ticks,
        y_ticks,
        (path,),
        beside,
        f"{x_title} not known",
        len(known) - len(shown),
    )


def place_labels(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points with label positions: above and beside the point, moved down if another label is there."""
    taken: list[tuple[float, float, float]] = []
    placed: dict[int, Point] = {}
    for number, point in sorted(enumerate(points), key=lambda one: (one[1].y, one[1].x)):
        if not point.named:
            continue
        width = _LETTER * min(len(point.key), LABEL_LETTERS)
        start = point.x + 6 if point.x < _TURN else point.x - 6 - width
        beside = [y for left, right, y in taken if left < start + width and start < right]
        y = point.y - 6
        for other in sorted(beside):
            if abs(other - y) < _LINE:
                y = round(other + _LINE, 1)
        taken.append((start, start + width, y))
        end: Literal["start", "end"] = "start" if point.x < _TURN else "end"
        placed[number] = replace(point, label=(round(point.x + (6 if end == "start" else -6), 1), y, end))
    return tuple(placed.get(number, point) for number, point in enumerate(points))


def _find_front(known: Sequence[tuple[str, float, float]], small_is_good: bool) -> set[str]:
    """Return the Pareto front: those that no other exceeds in both smallness (or speed) and score."""
    sign = 1 if small_is_good else -1
    best, front = -math.inf, set()
    for name, _, score in sorted(known, key=lambda one: (sign * one[1], -one[2])):
        if score > best:
            best = score
            front.add(name)
    return front


def _plot_depths(board: Board, scores: dict[str, float]) -> Scatter | None:
    """Return the plot of gain at each depth, for the best runs whose results have several depths (pointwise rerankers
    only).
    """
    table = board.table
    first = board.summaries[str(HEADLINE)].fixed[0].cells[AVERAGE_TYPES].mean
    curves = {run.name: _make_curve(run) for run in table.runs if run.name in scores}
    several = {name: curve for name, curve in curves.items() if len(curve) > 1}
    if first is None or not several:
        return None
    chosen = dict(list(several.items())[:LINES])
    gains = {name: [(depth, mean - first) for depth, mean in curve] for name, curve in chosen.items()}
    x_axis, x_ticks = _make_log_axis(
        [depth for curve in gains.values() for depth, _ in curve], lambda v: f"{v:.0f}", exact=True
    )
    y_axis, y_ticks = _make_axis([gain for curve in gains.values() for _, gain in curve] + [0.0])
    points = place_labels(
        [
            Point(name, x_axis(depth), y_axis(gain), f"{depth:.0f}", format_signed(gain), named=depth == curve[-1][0])
            for name, curve in gains.items()
            for depth, gain in curve
        ]
    )
    lines = tuple("M" + "L".join(f"{x_axis(d)} {y_axis(g)}" for d, g in curve) for curve in gains.values())
    alone = tuple((name, f"{100 * scores[name]:.2f}") for name in curves if name not in several)[:MOST]
    return Scatter(
        f"{board.id}-depth",
        "Gain against depth",
        "candidates reranked",
        f"gain in {HEADLINE} × 100 over the first stage, average over types",
        points,
        x_ticks,
        y_ticks,
        lines,
        alone,
        "run at one depth only",
        len(several) - len(chosen),
    )


def _make_curve(run: Run) -> list[tuple[float, float]]:
    """Return (depth, mean over types) at each depth that every task's result has."""
    depths = [set(scores.result.depths) for scores in run.tasks.values()]
    common = sorted(map(int, set.intersection(*depths))) if depths else []
    curve = []
    for depth in common:
        by_type: dict[str, list[float]] = {}
        for scores in run.tasks.values():
            value = scores.result.depths[str(depth)].get(str(HEADLINE))
            if value is None:
                return []
            by_type.setdefault(scores.task.type, []).append(value)
        curve.append((float(depth), float(np.mean([np.mean(values) for values in by_type.values()]))))
    return curve


def _make_axis(values: Sequence[float]) -> tuple[Callable[[float], float], tuple[tuple[float, str], ...]]:
    """Return a linear axis upwards for fractions, and round ticks in points."""
    low, high = 100 * min(values), 100 * max(values)
    step = next(s for s in (1, 2, 5, 10, 20, 50) if s * 5 >= high - low or s == 50)
    bottom, top = step * math.floor(low / step), step * max(math.ceil(high / step), math.floor(low / step) + 1)

    def place(value: float) -> float:
        return round(BOTTOM - (100 * value - bottom) / (top - bottom) * (BOTTOM - TOP), 1)

    return place, tuple((place(tick / 100), f"{tick}".replace("-", "\u2212")) for tick in range(bottom, top + 1, step))


def _make_log_axis(
    values: Sequence[float], words: Callable[[float], str], *, exact: bool = False
) -> tuple[Callable[[float], float], tuple[tuple[float, str], ...]]:
    """Return a logarithmic axis to the right, and ticks at 1, 2, 5 times powers of ten, or at the values themselves."""
    low, high = math.log10(min(values)), math.log10(max(values))
    margin = max(0.08 * (high - low), 0.1)
    start, end = low - margin, high + margin

    def place(value: float) -> float:
        return round(LEFT + (math.log10(value) - start) / (end - start) * (RIGHT - LEFT), 1)

    if exact:
        return place, tuple((place(value), words(value)) for value in sorted(set(values)))
    factors = (1, 2, 5) if end - start < 2 else (1,)
    decades = range(math.floor(start), math.ceil(end) + 1)
    ticks = [factor * 10.0**decade for decade in decades for factor in factors]
    return place, tuple((place(tick), words(tick)) for tick in ticks if start <= math.log10(tick) <= end)
