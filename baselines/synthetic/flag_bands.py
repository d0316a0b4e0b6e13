"""Designs of bands, with or without something on them: drawn, and described."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from mrb.baselines.synthetic.flag_emblems import draw_emblem, with_article
from mrb.baselines.synthetic.flag_sheet import TALL, WIDE, Box, Sheet

_COUNTS = {2: "two", 3: "three", 4: "four", 5: "five"}

Extra = Callable[[Sheet, Sequence[str], Sequence[Box]], str]
"""Draws on bands of given colours and boxes; returns the continuation of the description."""


def draw_bands(sheet: Sheet) -> str:
    """Draw two to five bands; return the description."""
    upright = sheet.toss(0.3)
    count = int(sheet.rng.choice([2, 3, 4, 5], p=[0.2, 0.6, 0.1, 0.1]))
    inks: list[str] = []
    for place in range(count):
        if place == count - 1 and count in (3, 5) and sheet.toss(0.3):
            inks = [*inks[: count // 2 + 1], *inks[: count // 2][::-1]]
        else:
            inks.append(sheet.sample_ink(*inks[-1:]))
    shares = np.ones(count)
    broad = -1
    if count in (3, 5) and sheet.toss(0.3):
        broad = count // 2 if sheet.toss(0.7) else 0
        shares[broad] = 2
    return _banded(sheet, inks, shares / shares.sum(), broad, upright=upright)


def _banded(sheet: Sheet, inks: list[str], shares: npt.NDArray[np.float64], broad: int, *, upright: bool) -> str:
    ends = np.cumsum([0, *shares])
    boxes: list[Box] = []
    for place, ink in enumerate(inks):
        low, high = float(ends[place]), float(ends[place + 1])
        boxes.append((low, 0, high, 1) if upright else (0, low, 1, high))
        sheet.fill_box(boxes[-1], ink)
    first = "hoist side" if upright else "top"
    told = []
    for place, ink in enumerate(inks):
        notes = [first] if place == 0 else []
        notes += [sheet.choose("double width", "double-width")] if place == broad else []
        told.append(ink + (f" ({', '.join(notes)})" if notes else ""))
    listed = ", ".join(told[:-1]) + ("," if len(told) > 2 else "") + f" and {told[-1]}"
    equal = "equal " if broad < 0 and not sheet.toss(0.1) else ""
    words = f"{_COUNTS[len(inks)]} {equal}{'vertical' if upright else 'horizontal'} bands of {listed}"
    extras: list[tuple[Extra, float]] = [(_nothing, 0.35), (_on_band, 0.4)]
    if not upright:
        extras += [(_triangle, 0.15), (_hoist_band, 0.08), (_corner, 0.07)]
    return words + sheet.sample(extras)(sheet, inks, boxes)


def _nothing(sheet: Sheet, inks: Sequence[str], boxes: Sequence[Box]) -> str:
    return ""


def _on_band(sheet: Sheet, inks: Sequence[str], boxes: Sequence[Box]) -> str:
    """Draw an emblem on one of the bands."""
    place = len(inks) // 2 if sheet.toss(0.7) else int(sheet.rng.integers(len(inks)))
    left, top, right, bottom = boxes[place]
    hoist = right - left == 1 and sheet.toss(0.25)
    x, y = (0.2 if hoist else (left + right) / 2), (top + bottom) / 2
    size = min(0.3, 0.42 * (bottom - top), 0.5 * (right - left) * WIDE / TALL)
    what = draw_emblem(sheet, x, y, size, inks[place])
    where = f"on the hoist side of the {inks[place]} band" if hoist else f"centered in the {inks[place]} band"
    return sheet.choose(f" with {what} {where}", f"; {what} is {where}", f", with {what} {where}")


def _triangle(sheet: Sheet, inks: Sequence[str], boxes: Sequence[Box]) -> str:
    ink = sheet.sample_ink(*inks)
    reach = float(sheet.rng.uniform(0.3, 0.5))
    sheet.draw_polygon([(0, 0), (reach, 0.5), (0, 1)], ink)
    words = sheet.choose(
        f" with {with_article(ink)} isosceles triangle based on the hoist side",
        f"; {with_article(ink)} isosceles triangle is based on the hoist side",
        f", with {with_article(ink)} isosceles triangle based on the hoist",
    )
    if sheet.toss(0.4):
        what = draw_emblem(sheet, reach / 3, 0.5, 0.1, ink)
        words += sheet.choose(f" with {what} in it", f"; centered within the triangle is {what}", f" bearing {what}")
    return words


def _hoist_band(sheet: Sheet, inks: Sequence[str], boxes: Sequence[Box]) -> str:
    ink = sheet.sample_ink(*inks)
    sheet.fill_box((0, 0, float(sheet.rng.uniform(0.2, 0.35)), 1), ink)
    return sheet.choose(
        f" with a vertical {ink} band on the hoist side", f" with a wider vertical {ink} band on the hoist side"
    )


def _corner(sheet: Sheet, inks: Sequence[str], boxes: Sequence[Box]) -> str:
    ground = sheet.sample_ink(inks[0])
    sheet.fill_box((0, 0, 0.4, 0.5), ground)
    what = draw_emblem(sheet, 0.2, 0.25, 0.15, ground)
    return f"; there is {with_article(ground)} rectangle in the upper hoist-side corner bearing {what}"
