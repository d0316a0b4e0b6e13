"""Axes of the plots of averages, and places of labels: beside their point, on no other label or point, in the frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 400, 290, 36, 392, 10, 246
"""In SVG units: as wide as a phone, so that text stays readable there."""
# Width of a label's letter in a wide font, height of its line, and half the width of a point, in SVG units.
_LETTER, _LINE, _HALF = 7.0, 12.0, 4.5
_LETTERS = 26
MOST_NAMED = 12
"""Points with a label; the legend, the points' titles and the table have all."""

# Beyond it a tick's words would leave the frame.
_LAST = WIDTH - 20

Ticks = tuple[tuple[float, str], ...]
Axis = tuple[Callable[[float], float], Ticks]
Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class Point:
    """One model: its position in the SVG, its numbers as text, the group that gives its colour and shape, and whether
    none exceeds it in both directions (`front`).

    If it is `named`, `label` gives x and y of the label's end next to the point, and which end that is.
    """

    key: str
    text: str
    x: float
    y: float
    x_text: str
    y_text: str
    group: int = 0
    front: bool = False
    named: bool = False
    label: tuple[float, float, Literal["start", "end"]] = (0.0, 0.0, "start")

    @property
    def short(self) -> str:
        """The label's words, shortened."""
        return self.text if len(self.text) <= _LETTERS else self.text[: _LETTERS - 1] + "…"


def is_wide(text: str, width: float) -> bool:
    """Return whether a label may need more than `width`: it is then set into just that."""
    return _LETTER * len(text) > width


def place_labels(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points in their order, with labels where there is room: the front's first, then from the top."""
    taken = [(one.x - _HALF, one.y - _HALF, one.x + _HALF, one.y + _HALF) for one in points]
    placed = list(points)
    order = sorted(range(len(points)), key=lambda number: (not points[number].front, points[number].y, number))
    count = 0
    for number in order:
        point = points[number]
        width = _LETTER * len(point.short)
        for dx, dy in ((7, -5), (7, 13), (-7, -5), (-7, 13), (8, 4), (-8, 4)):
            x, y = round(point.x + dx, 1), round(point.y + dy, 1)
            left = x if dx > 0 else x - width
            box = (left, y - _LINE + 3, left + width, y + 3)
            if count < MOST_NAMED and _fits(box, taken):
                taken.append(box)
                placed[number] = replace(point, named=True, label=(x, y, "start" if dx > 0 else "end"))
                count += 1
                break
    return tuple(placed)


def _fits(box: Rectangle, taken: Sequence[Rectangle]) -> bool:
    left, top, right, bottom = box
    if left < LEFT or right > WIDTH or top < 0 or bottom > BOTTOM:
        return False
    return not any(left < r and l < right and top < b and t < bottom for l, t, r, b in taken)  # noqa: E741


def make_axis(values: Sequence[float]) -> Axis:
    """Return a linear axis upwards for fractions, and round ticks in points."""
    low, high = 100 * min(values), 100 * max(values)
    step = next(s for s in (1, 2, 5, 10, 20, 50) if s * 5 >= high - low or s == 50)
    bottom, top = step * math.floor(low / step), step * max(math.ceil(high / step), math.floor(low / step) + 1)

    def place(value: float) -> float:
        return round(BOTTOM - (100 * value - bottom) / (top - bottom) * (BOTTOM - TOP), 1)

    return place, tuple((place(tick / 100), f"{tick}".replace("-", "\u2212")) for tick in range(bottom, top + 1, step))


def make_log_axis(values: Sequence[float], words: Callable[[float], str], *, exact: bool = False) -> Axis:
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
    return place, tuple(
        (place(tick), words(tick)) for tick in ticks if start <= math.log10(tick) and place(tick) <= _LAST
    )


def make_date_axis(days: Sequence[float]) -> Axis:
    """Return an axis to the right for days (`date.toordinal`), and ticks at the start of months, at most six."""
    margin = max(0.04 * (max(days) - min(days)), 15.0)
    start, end = min(days) - margin, max(days) + margin

    def place(day: float) -> float:
        return round(LEFT + (day - start) / (end - start) * (RIGHT - LEFT), 1)

    months = range(12 * date.fromordinal(int(start)).year, 12 * date.fromordinal(int(end)).year + 12)
    firsts = [(month, date(month // 12, month % 12 + 1, 1)) for month in months]
    inside = [(month, day) for month, day in firsts if start <= day.toordinal() <= end]
    step = next(step for step in (1, 2, 3, 6, 12, 24, 60, 1200) if sum(m % step == 0 for m, _ in inside) <= 6)
    return place, tuple(
        (place(day.toordinal()), f"{day:%Y-%m}")
        for month, day in inside
        if month % step == 0 and place(day.toordinal()) <= _LAST
    )
