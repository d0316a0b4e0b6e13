"""Small things on flags: told with their article, drawn at a place."""

from __future__ import annotations

import numpy as np

from mrb.baselines.synthetic.flag_sheet import TALL, WIDE, Sheet


def emblem(sheet: Sheet, x: float, y: float, size: float, ground: str) -> str:
    """Draw something small on the colour `ground`, its radius in shares of the height; what it is called."""
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
    """Draw a small thing of several colours; what it is called."""
    for step in range(3):
        ink = sheet.ink()
        sheet.used.pop()
        away = sheet.rng.uniform(-0.35, 0.35, 2) * size if step else np.zeros(2)
        sheet.disk(x + float(away[0]), y + float(away[1]), size * (0.9 - 0.25 * step), ink)
    return sheet.one(
        "the national coat of arms", "the coat of arms", "the national emblem", "this country coat of arms"
    )


def an(ink: str) -> str:
    """An ink's name with its article."""
    return f"{'an' if ink[0] in 'aeiou' else 'a'} {ink}"
