"""Plots of a table's averages: score against size, speed and date, gain against depth, as numbers for an SVG.

Colours and shapes say what kind of model a point is (in the plot against date its size class, in that against depth the
model itself). A line joins only what is one thing: the best score so far, or one model's depths.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import get_args

import numpy as np

from mrb.leaderboard.charts.axes import Axis, Point, Ticks, make_axis, make_date_axis, make_log_axis, place_labels
from mrb.leaderboard.tables.board import Board
from mrb.leaderboard.tables.cells import format_signed
from mrb.leaderboard.tables.fact_columns import RowSource, format_parameters, format_speed
from mrb.leaderboard.tables.finding import SIZES, find_size_class
from mrb.leaderboard.tables.rows import AVERAGE_TYPES
from mrb.metrics.measures import HEADLINE
from mrb.results.run import Run
from mrb.submission.schema import ModelKind

MOST = 100
"""Models in a plot: those that none exceeds, then the best by average; the tables have all."""
LINES = 6
MACHINES = 2
"""Kinds of hardware that have a plot against speed, those with the most models."""
KINDS = (*get_args(ModelKind), "architecture not stated")
CLASSES = (*(words for _, words in SIZES), "size not stated")
_BY_SCORE = f"{HEADLINE} × 100, average over types"
NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Scatter:
    """A plot: `groups` are the colours of its legend, by number; `lines` are paths, each with the number of its group.

    `beside` are models without a position on the x axis.
    """

    id: str
    title: str
    x_title: str
    y_title: str
    points: tuple[Point, ...]
    x_ticks: Ticks
    y_ticks: Ticks
    groups: tuple[tuple[int, str], ...]
    lines: tuple[tuple[int, str], ...]
    beside: tuple[tuple[str, str], ...]
    beside_words: str
    left_out: int
    explained: str = ""


@dataclass(frozen=True)
class _Place:
    """A model's x and score before the axes are known."""

    key: str
    x: float
    score: float
    group: int
    front: bool = False


def make_scatters(board: Board) -> list[Scatter]:
    """Return the plots of a table that has averages, without plots that have no point."""
    if board.table.comparison.suite is None:
        return []
    scores = _find_scores(board)
    made = [_plot_sizes(board, scores), *_plot_speeds(board, scores), _plot_dates(board, scores)]
    return [plot for plot in (*made, _plot_depths(board, scores)) if plot is not None]


def explain_missing(board: Board, plots: Iterable[Scatter]) -> list[str]:
    """Return a sentence for each plot that a table with averages lacks."""
    if board.table.comparison.suite is None:
        return []
    made = " ".join(plot.title for plot in plots)
    reasons = (
        ("size", "no model here states its number of parameters"),
        ("speed", "no two models here were timed on the same recorded hardware"),
        ("date", "no row here has a date"),
    )
    return [f"No plot of score against {what}: {why}." for what, why in reasons if f"against {what}" not in made]


def name_source(source: RowSource) -> str:
    """Return the words of a model's label: its name without the organisation."""
    model = source.submission.model if source.submission else None
    return " ".join(filter(None, (model.name, model.variant))) if model else source.run.name


def _find_scores(board: Board) -> dict[str, float]:
    view = board.summaries[str(HEADLINE)]
    return {row.key: cell.mean for row in view.rows if (cell := row.cells[AVERAGE_TYPES]).mean is not None}


def _find_kind(source: RowSource) -> int:
    return KINDS.index(source.submission.model.kind if source.submission else KINDS[-1])


def _find_parameters(source: RowSource) -> float | None:
    model = source.submission.model if source.submission else None
    return float(model.parameters) if model and model.parameters else None


def _find_day(source: RowSource) -> float | None:
    """Return the day on which a row's scoring ended, as an ordinal; None if that is not recorded."""
    timings = source.run.record.timings
    days = [timing.day for task_id, timing in timings.items() if task_id in source.run.tasks and timing.day]
    try:
        return float(date.fromisoformat(max(days)).toordinal()) if days else None
    except ValueError:  # such as the 30th of February, which the file's schema lets pass
        return None


def _place_models(
    board: Board,
    scores: dict[str, float],
    read_x: Callable[[RowSource], float | None],
    read_group: Callable[[RowSource], int],
) -> list[_Place]:
    """Return the models that have an x above zero, best first."""
    found = []
    for name, score in scores.items():
        source = board.sources[name]
        x = read_x(source)
        if x is not None and x > 0:
            found.append(_Place(name, x, score, read_group(source)))
    return sorted(found, key=lambda one: -one.score)


def _plot_sizes(board: Board, scores: dict[str, float]) -> Scatter | None:
    found = _mark_front(_place_models(board, scores, _find_parameters, _find_kind), small_is_good=True)
    return _make_scatter(
        board,
        "size",
        "Score against size",
        "parameters",
        scores,
        found,
        lambda values: make_log_axis(values, lambda value: format_parameters(int(value))),
        lambda value: format_parameters(int(value)),
        KINDS,
        explained="Filled: no smaller model scores higher.",
    )


def _plot_speeds(board: Board, scores: dict[str, float]) -> list[Scatter | None]:
    """Return a plot for each kind of hardware on which at least two models were timed."""
    timed = [name for name in scores if board.sources[name].card.pairs_per_second]
    counted = Counter(board.sources[name].card.hardware for name in timed)
    machines = [name for name, count in counted.most_common() if count > 1 and name != NOT_RECORDED]

    def plot(number: int, hardware: str) -> Scatter | None:
        own = {name: score for name, score in scores.items() if board.sources[name].card.hardware == hardware}
        found = _place_models(board, own, lambda source: source.card.pairs_per_second, _find_kind)
        return _make_scatter(
            board,
            f"speed{f'-{number}' if number > 1 else ''}",
            f"Score against speed on {hardware}",
            "pairs per second",
            own,
            _mark_front(found, small_is_good=False),
            lambda values: make_log_axis(values, format_speed),
            format_speed,
            KINDS,
            explained="Filled: no faster model scores higher. Models timed on other hardware are not in this plot.",
        )

    return [plot(number, hardware) for number, hardware in enumerate(machines[:MACHINES], 1)]


def _plot_dates(board: Board, scores: dict[str, float]) -> Scatter | None:
    def read_group(source: RowSource) -> int:
        parameters = _find_parameters(source)
        return CLASSES.index(find_size_class(int(parameters)) if parameters else CLASSES[-1])

    found = _place_models(board, scores, _find_day, read_group)
    best: dict[int, list[_Place]] = {}
    for one in sorted(found, key=lambda one: (one.x, -one.score)):
        records = best.setdefault(one.group, [])
        if not records or one.score > records[-1].score:
            records.append(one)
    filled = {one.key for group in best.values() for one in group}
    end = max((one.x for one in found), default=0.0)
    steps = [(group, [(one.x, one.score) for one in own], end) for group, own in sorted(best.items())]
    return _make_scatter(
        board,
        "date",
        "Score against date",
        "day on which the model was scored",
        scores,
        [_Place(one.key, one.x, one.score, one.group, one.key in filled) for one in found],
        make_date_axis,
        lambda day: date.fromordinal(int(day)).isoformat(),
        CLASSES,
        steps,
        explained="Filled, with the line: the best of its size class so far.",
    )


def _make_scatter(
    board: Board,
    kind: str,
    title: str,
    x_title: str,
    scores: dict[str, float],
    found: Sequence[_Place],
    make_x: Callable[[Sequence[float]], Axis],
    words: Callable[[float], str],
    groups: Sequence[str],
    steps: Sequence[tuple[int, list[tuple[float, float]], float]] = (),
    explained: str = "",
) -> Scatter | None:
    if not found:
        return None
    have = {one.key for one in found}
    beside = tuple((name, f"{100 * score:.2f}") for name, score in scores.items() if name not in have)
    shown = sorted(sorted(found, key=lambda one: not one.front)[:MOST], key=lambda one: -one.score)
    x_axis, x_ticks = make_x([one.x for one in shown])
    y_axis, y_ticks = make_axis([one.score for one in shown])
    points = [
        Point(
            one.key,
            name_source(board.sources[one.key]),
            x_axis(one.x),
            y_axis(one.score),
            words(one.x),
            f"{100 * one.score:.2f}",
            one.group,
            one.front,
        )
        for one in shown
    ]
    lines = tuple(
        (group, _draw_steps([(x_axis(x), y_axis(y)) for x, y in at], x_axis(end))) for group, at, end in steps
    )
    return Scatter(
        f"{board.id}-{kind}",
        title,
        x_title,
        _BY_SCORE,
        place_labels(points),
        x_ticks,
        y_ticks,
        tuple((number, groups[number]) for number in sorted({one.group for one in shown})),
        lines,
        beside[:MOST],
        f"{x_title} not known",
        len(found) - len(shown),
        explained,
    )


def _draw_steps(places: Sequence[tuple[float, float]], end: float) -> str:
    """Return the path of a value that holds until the next place, and from the last one to `end`."""
    first, *others = places
    return f"M{first[0]} {first[1]}" + "".join(f"H{x}V{y}" for x, y in others) + f"H{end}"


def _mark_front(found: Sequence[_Place], *, small_is_good: bool) -> list[_Place]:
    """Mark those that no other exceeds in both smallness (or speed) and score."""
    sign = 1 if small_is_good else -1
    best, front = -math.inf, set()
    for one in sorted(found, key=lambda one: (sign * one.x, -one.score)):
        if one.score > best:
            best = one.score
            front.add(one.key)
    return [_Place(one.key, one.x, one.score, one.group, one.key in front) for one in found]


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
    x_axis, x_ticks = make_log_axis(
        [depth for curve in gains.values() for depth, _ in curve], lambda v: f"{v:.0f}", exact=True
    )
    y_axis, y_ticks = make_axis([gain for curve in gains.values() for _, gain in curve] + [0.0])
    names = {name: name_source(board.sources[name]) for name in gains}
    points = tuple(
        Point(name, names[name], x_axis(depth), y_axis(gain), f"{depth:.0f}", format_signed(gain), number, front=True)
        for number, (name, curve) in enumerate(gains.items())
        for depth, gain in curve
    )
    lines = tuple(
        (number, "M" + "L".join(f"{x_axis(d)} {y_axis(g)}" for d, g in curve))
        for number, curve in enumerate(gains.values())
    )
    alone = tuple((name, f"{100 * scores[name]:.2f}") for name in curves if name not in several)[:MOST]
    return Scatter(
        f"{board.id}-depth",
        "Gain against depth",
        "candidates reranked",
        f"gain in {HEADLINE} × 100 over the first stage, average over types",
        points,
        x_ticks,
        y_ticks,
        tuple(enumerate(names.values())),
        lines,
        alone,
        "run at one depth only",
        len(several) - len(chosen),
        "A line for each model.",
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
