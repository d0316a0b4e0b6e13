"""A canvas for drawing a flag: randomly sampled colours, and shapes in fractions of the flag's width and height."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw

from mrb.baselines.retrievers.colours import SHADES

WIDE, TALL = 128, 96
_INKS: dict[str, tuple[str, slice, float]] = {
    "red": ("red", slice(0, 3), 5),
    "white": ("white", slice(0, 1), 5),
    "blue": ("blue", slice(0, 3), 4),
    "green": ("green", slice(0, 3), 3.5),
    "yellow": ("yellow", slice(0, 2), 3),
    "black": ("black", slice(0, 1), 2.5),
    "orange": ("orange", slice(0, 3), 1),
    "light blue": ("blue", slice(3, 5), 1),
    "dark blue": ("blue", slice(1, 2), 0.7),
    "gold": ("yellow", slice(1, 2), 0.5),
}
"""Colour name -> (basic colour, its shades, sampling weight)."""
BASIC = tuple(dict.fromkeys(basic for basic, _, _ in _INKS.values()))
"""The basic colours, each of which is also the name of a colour in `_INKS`."""
_JITTER = 8  # largest random shift of a shade's channel, of 255

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as fractions of the flag."""
Point = tuple[float, float]
T = TypeVar("T")


@dataclass
class Sheet:
    """A flag being drawn, and the colours that it has used."""

    rng: np.random.Generator
    picture: Image.Image = field(default_factory=lambda: Image.new("RGB", (WIDE, TALL), "white"))
    used: list[str] = field(default_factory=list)
    shades: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pen = ImageDraw.Draw(self.picture)

    def sample_ink(self, *beside: str) -> str:
        """Sample a colour whose basic colour differs from those of `beside` and usually from those in use."""
        shun = {_INKS[name][0] for name in beside}
        used = {_INKS[name][0] for name in self.used} if self.toss(0.7) else set()
        if len(shun | used) < len(BASIC):
            shun |= used
        name = self.sample([(name, weight) for name, (basic, _, weight) in _INKS.items() if basic not in shun])
        self.used.append(name)
        return name

    def find_rgb(self, name: str) -> tuple[int, int, int]:
        """Return the shade of a colour on this flag, sampled on first use."""
        if name not in self.shades:
            basic, some, _ = _INKS[name]
            shades = SHADES[basic][some]
            shade = np.array(shades[int(self.rng.integers(len(shades)))])
            moved = (shade + self.rng.integers(-_JITTER, _JITTER + 1, 3)).clip(0, 255)
            self.shades[name] = (int(moved[0]), int(moved[1]), int(moved[2]))
        return self.shades[name]

    def toss(self, share: float) -> bool:
        """Return True with probability `share`."""
        return bool(self.rng.random() < share)

    def sample(self, choices: Sequence[tuple[T, float]]) -> T:
        """Sample one of several (value, weight) choices."""
        weights = np.array([weight for _, weight in choices])
        return choices[int(self.rng.choice(len(choices), p=weights / weights.sum()))][0]

    def choose(self, *choices: str) -> str:
        """Sample one of several wordings."""
        return choices[int(self.rng.integers(len(choices)))]

    def fill_box(self, box: Box, name: str) -> None:
        """Draw a rectangle, in fractions of the flag."""
        left, top, right, bottom = box
        self.pen.rectangle((left * WIDE, top * TALL, right * WIDE - 1, bottom * TALL - 1), fill=self.find_rgb(name))

    def draw_polygon(self, points: Sequence[Point], name: str) -> None:
        """Draw a polygon, in fractions of the flag."""
        self.pen.polygon([(x * WIDE, y * TALL) for x, y in points], fill=self.find_rgb(name))

    def draw_line(self, points: Sequence[Point], name: str, width: float) -> None:
        """Draw a line; its width is a fraction of the height."""
        self.pen.line([(x * WIDE, y * TALL) for x, y in points], fill=self.find_rgb(name), width=round(width * TALL))

    def draw_cross(self, x: float, name: str, width: float) -> None:
        """Draw an upright cross to the flag's edges, its vertical bar at `x`."""
        self.draw_line([(x, 0), (x, 1)], name, width)
        self.draw_line([(0, 0.5), (1, 0.5)], name, width)

    def draw_disk(self, x: float, y: float, radius: float, name: str) -> None:
        """Draw a disk; its radius is a fraction of the height."""
        size = radius * TALL
        self.pen.ellipse((x * WIDE - size, y * TALL - size, x * WIDE + size, y * TALL + size), fill=self.find_rgb(name))

    def draw_star(self, x: float, y: float, radius: float, name: str, points: int = 5) -> None:
        """Draw a star with one point upwards; its radius is a fraction of the height."""
        turn = -np.pi / 2 + np.pi * np.arange(2 * points) / points
        size = np.where(np.arange(2 * points) % 2, 0.4, 1.0) * radius * TALL
        corners = zip(x * WIDE + size * np.cos(turn), y * TALL + size * np.sin(turn), strict=True)
        self.pen.polygon([(float(a), float(b)) for a, b in corners], fill=self.find_rgb(name))
