"""A grammar of flags: designs of bands, fields, crosses and triangles, drawn, and described in the Factbook's words.

Parts and phrases are those of the 77 training flags' descriptions; colours and their positions are sampled.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from mrb.baselines.synthetic.flag_bands import bands
from mrb.baselines.synthetic.flag_fields import (
    charged,
    cross,
    diagonal,
    ensign,
    middle_stripe,
    plain,
    quarters,
    saltire,
    stripes,
)
from mrb.baselines.synthetic.flag_sheet import Sheet

_MEANINGS = (
    "the land", "peace", "the blood shed for freedom", "hope", "purity", "the sea", "the sky", "unity", "agriculture",
    "the people", "wealth", "courage", "the sun", "justice", "the forests", "progress",
)  # fmt: skip
_MEANT = 0.35  # share of descriptions that explain what colours mean

_DESIGNS: tuple[tuple[Callable[[Sheet], str], float], ...] = (
    (bands, 0.52),
    (charged, 0.13),
    (ensign, 0.08),
    (cross, 0.06),
    (diagonal, 0.06),
    (stripes, 0.05),
    (saltire, 0.04),
    (middle_stripe, 0.03),
    (quarters, 0.03),
)
"""Designs with their sampling weights: about their frequencies among the 77."""


def describe_and_draw(rng: np.random.Generator, field: str | None = None) -> tuple[str, Image.Image]:
    """Return a description and its flag, WIDE x TALL pixels. `field` is the colour of a flag that is only a field."""
    sheet = Sheet(rng)
    words = sheet.pick(_DESIGNS)(sheet) if field is None else plain(sheet, field)
    if sheet.chance(_MEANT):
        words += "; " + _meanings(sheet)
    return words, sheet.picture


def _meanings(sheet: Sheet) -> str:
    inks = list(dict.fromkeys(sheet.used))[:3]
    meant = sheet.rng.choice(_MEANINGS, len(inks), replace=False)
    verb = sheet.one("represents", "symbolizes", "stands for")
    first, *others = zip(inks, meant, strict=True)
    return ", ".join([f"{first[0]} {verb} {first[1]}", *(f"{ink} {what}" for ink, what in others)])
