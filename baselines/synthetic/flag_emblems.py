"""Emblems on flags: each function draws one at a position and returns its name with its article."""

from __future__ import annotations

import numpy as np

from mrb.baselines.synthetic.flag_sheet import TALL, WIDE, Sheet


def draw_emblem(sheet: Sheet, x: float, y: float, size: float, ground: str) -> str:
    """Draw a random emblem on the colour `ground`; return its name.

    `size` is its radius as a fraction of the height.
    """
    kind = sheet.choose("star", "star", "disk", "crescent", "arms", "sun")
    if kind == "arms":
        return draw_arms(sheet, x, y, size)
    ink = sheet.sample_ink(ground)
    if kind == "star":
        sheet.draw_star(x, y, size, ink)
        return f"{with_article(ink)} five-pointed star"
    if kind == "disk":
        sheet.draw_disk(x, y, size, ink)
        return f"{with_article(ink)} disk"
    if kind == "sun":
        sheet.draw_star(x, y, size, ink, points=12)
        sheet.draw_disk(x, y, 0.7 * size, ink)
        return f"{with_article(ink)} sun"
    sheet.draw_disk(x, y, size, ink)
    sheet.draw_disk(x + 0.3 * size * TALL / WIDE, y, 0.8 * size, ground)
    return f"{with_article(ink)} crescent"


def draw_arms(sheet: Sheet, x: float, y: float, size: float) -> str:
    """Draw a coat of arms as a small thing of several colours; return its name."""
    for step in range(3):
        ink = sheet.sample_ink()
        sheet.used.pop()
        away = sheet.rng.uniform(-0.35, 0.35, 2) * size if step else np.zeros(2)
        sheet.draw_disk(x + float(away[0]), y + float(away[1]), size * (0.9 - 0.25 * step), ink)
    return sheet.choose(
        "the national coat of arms", "the coat of arms", "the national emblem", "this country coat of arms"
    )


def with_article(ink: str) -> str:
    """Return a colour's name with its article."""
    return f"{'an' if ink[0] in 'aeiou' else 'a'} {ink}"
