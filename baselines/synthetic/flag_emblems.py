"""Emblems on flags: each function draws one at a position and returns its name with its article."""

from __future__ import annotations

import numpy as np

from mrb.baselines.synthetic.flag_sheet import TALL, WIDE, Sheet


def emblem(sheet: Sheet, x: float, y: float, size: float, ground: str) -> str:
    """Draw a random emblem on the colour `ground`; return its name.

    `size` is its radius as a fraction of the height.
    """
    kind = sheet.one("star", "star", "disk", "crescent", "arms", "sun")
    if kind == "arms":
        return arms(sheet, x, y, size)
    ink = sheet.ink(ground)
    if kind == "star":
        sheet.star(x, y, size, ink)
        return f"{an(ink)} five-pointed star"
    if kind == "disk":
        sheet.disk(x, y, size, ink)
        return f"{an(ink)} disk"
    if kind == "sun":
        sheet.star(x, y, size, ink, points=12)
        sheet.disk(x, y, 0.7 * size, ink)
        return f"{an(ink)} sun"
    sheet.disk(x, y, size, ink)
    sheet.disk(x + 0.3 * size * TALL / WIDE, y, 0.8 * size, ground)
    return f"{an(ink)} crescent"


def arms(sheet: Sheet, x: float, y: float, size: float) -> str:
    """Draw a coat of arms as a small thing of several colours; return its name."""
    for step in range(3):
        ink = sheet.ink()
        sheet.used.pop()
        away = sheet.rng.uniform(-0.35, 0.35, 2) * size if step else np.zeros(2)
        sheet.disk(x + float(away[0]), y + float(away[1]), size * (0.9 - 0.25 * step), ink)
    return sheet.one(
        "the national coat of arms", "the coat of arms", "the national emblem", "this country coat of arms"
    )


def an(ink: str) -> str:
    """Return a colour's name with its article."""
    return f"{'an' if ink[0] in 'aeiou' else 'a'} {ink}"
