"""A grammar of flags: designs of bands, fields, crosses and triangles, drawn, and described in the Factbook's words.

Parts and phrases are those of the 77 training flags' descriptions; colours and their positions are sampled.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from mrb.baselines.synthetic.flag_bands import draw_bands
from mrb.baselines.synthetic.flag_fields import (
    draw_charged,
    draw_cross,
    draw_diagonal,
    draw_ensign,
    draw_middle_stripe,
    draw_plain,
    draw_quarters,
    draw_saltire,
    draw_stripes,
)
from mrb.baselines.synthetic.flag_sheet import Sheet

_MEANINGS = (
    "the land", "peace", "the blood shed for freedom", "hope", "purity", "the sea", "the sky", "unity", "agriculture",
    "the people", "wealth", "courage", "the sun", "justice", "the forests", "progress",
)  # fmt: skip
_MEANT = 0.35  # share of descriptions that explain what colours mean

_DESIGNS: tuple[tuple[Callable[[Sheet], str], float], ...] = (
    (draw_bands, 0.52),
    (draw_charged, 0.13),
    (draw_ensign, 0.08),
    (draw_cross, 0.06),
    (draw_diagonal, 0.06),
    (draw_stripes, 0.05),
    (draw_saltire, 0.04),
    (draw_middle_stripe, 0.03),
    (draw_quarters, 0.03),
)
"""Designs with their sampling weights: about their frequencies among the 77."""


def describe_and_draw(rng: np.random.Generator, field: str | None = None) -> tuple[str, Image.Image]:
    """Return a description and its flag, WIDE x TALL pixels. `field` is the colour of a flag that is only a field."""
    sheet = Sheet(rng)
    words = sheet.sample(_DESIGNS)(sheet) if field is None else draw_plain(sheet, field)
    if sheet.toss(_MEANT):
        words += "; " + _meanings(sheet)
    return words, sheet.picture


def _meanings(sheet: Sheet) -> str:
    inks = list(dict.fromkeys(sheet.used))[:3]
    meant = sheet.rng.choice(_MEANINGS, len(inks), replace=False)
    verb = sheet.choose("represents", "symbolizes", "stands for")
    first, *others = zip(inks, meant, strict=True)
    return ", ".join([f"{first[0]} {verb} {first[1]}", *(f"{ink} {what}" for ink, what in others)])
