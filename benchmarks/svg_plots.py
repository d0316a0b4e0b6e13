"""Line plots and interval plots as SVG text.

Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 150, 36, 40
_TICKS = 5


def plot_lines(title: str, across: str, lines: Mapping[str, Points]) -> str:
    """Return a plot with one line per name through its points (x, y), and a legend.

    Each line needs at least one point.
    """
    everything = [point for points in lines.values() for point in points]
    x_low, x_high = _range([x for x, _ in everything])
    y_low, y_high = _range([0.0, *(y for _, y in everything)])

    def place(x: float, y: float) -> str:
        return f"{_scaled(x, x_low, x_high, _LEFT, _WIDTH - _RIGHT):.1f},{_down(y, y_low, y_high):.1f}"

    parts = [*_axis_down(y_low, y_high), *_axis_across(x_low, x_high, across)]
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        dashes = ' stroke-dasharray="5 3"' if number >= len(COLOURS) else ""
        path = " ".join(place(x, y) for x, y in points)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2"{dashes} points="{path}"/>')
        parts += _legend(number, name, colour)
    return _document(title, parts)


def plot_intervals(title: str, rows: Mapping[str, tuple[float, float, float]]) -> str:
    """Return a plot with one (middle, low, high) interval per name, one below the other, and a line at 0."""
    low, high = _range([0.0, *(value for row in rows.values() for value in row)])
    step = (_HEIGHT - _TOP - _BOTTOM) / len(rows)

    def across(value: float) -> float:
        return _scaled(value, low, high, _LEFT + 90, _WIDTH - 20)

    parts = [_line(across(0), _TOP, across(0), _HEIGHT - _BOTTOM, "#888")]
    for tick in list_ticks(low, high):
        parts.append(_text(across(tick), _HEIGHT - _BOTTOM + 16, f"{tick:g}", "middle"))
    for number, (name, (middle, left, right)) in enumerate(rows.items()):
        y = _TOP + (number + 0.5) * step
        parts.append(_text(_LEFT + 80, y + 4, name, "end"))
        parts.append(_line(across(left), y, across(right), y, COLOURS[0], 2))
        parts.append(f'<circle cx="{across(middle):.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[0]}"/>')
    return _document(title, parts)


def _document(title: str, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" font-family="sans-serif" font-size="12" role="img">'
    )
    ground = f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
    name = f"<title>{escape(title)}</title>"
    return "\n".join([head, name, ground, _text(12, 22, title, "start"), *parts, "</svg>", ""])


def _axis_down(low: float, high: float) -> Iterator[str]:
    for tick in list_ticks(low, high):
        y = _down(tick, low, high)
        yield _line(_LEFT, y, _WIDTH - _RIGHT, y, "#ddd")
        yield _text(_LEFT - 6, y + 4, f"{tick:g}", "end")


def _axis_across(low: float, high: float, name: str) -> Iterator[str]:
    for tick in list_ticks(low, high):
        yield _text(_scaled(tick, low, high, _LEFT, _WIDTH - _RIGHT), _HEIGHT - _BOTTOM + 16, f"{tick:g}", "middle")
    yield _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, name, "middle")


def _legend(number: int, name: str, colour: str) -> Iterator[str]:
    y = _TOP + 16 * number + 4
    yield _line(_WIDTH - _RIGHT + 10, y, _WIDTH - _RIGHT + 30, y, colour, 2)
    yield _text(_WIDTH - _RIGHT + 36, y + 4, name, "start")


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: int = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _down(value: float, low: float, high: float) -> float:
    return _scaled(value, low, high, _HEIGHT - _BOTTOM, _TOP)


def _scaled(value: float, low: float, high: float, start: float, end: float) -> float:
    return start + (value - low) / (high - low) * (end - start)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low, low + 1)


def list_ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers within low..high."""
    rough = (high - low) / _TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first = math.ceil(low / step)
    return [round(n * step, 10) for n in range(first, math.floor(high / step) + 1)]
