"""Pictures changed as a text says: turned round, recoloured; and how far a picture has the skin tone it says."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from mrb.baselines.retrievers.colours import COLOURS, SHADES, TONES, mentions, pixel_colours
from mrb.baselines.retrievers.features import Picture, ink

Pixels = npt.NDArray[np.uint8]

_TURNED = re.compile(r"\b(facing|looking|pointing|turned|going) (to the )?(right|left)\b|\bmirror(ed)?\b|\bflipped\b")
_TONE = re.compile(r"\b(light|medium-light|medium|medium-dark|dark) skin\b")
_RELIEF = 0.5  # how much of the light and shade of a recoloured part stays


def changed(picture: Picture, text: str) -> Picture | None:
    """`picture` with the changes that `text` names and this module knows; None if it names none of them."""
    lowered = text.lower()
    pixels = picture.pixels
    named = mentions(lowered)
    if named:
        colour = COLOURS[named[0][1]]
        pixels = _recoloured(pixels, _main_part(pixels), SHADES[colour][0])
    if _TURNED.search(lowered):
        pixels = pixels[:, ::-1]
    return None if pixels is picture.pixels else Picture(np.ascontiguousarray(pixels))


def tone_match(text: str, picture: Picture) -> float:
    """The part of a picture's skin that has the tone which `text` names, 0 to 1; 0 where it names none."""
    tone = _TONE.search(text.lower())
    return float(picture.tones[TONES.index(tone.group(1))]) if tone else 0.0


def _main_part(pixels: Pixels) -> npt.NDArray[np.bool_]:
    """The drawn pixels of the colour that most of the drawing has."""
    owner = pixel_colours(pixels.astype(np.float64)).argmax(axis=-1)
    drawn = ink(pixels)
    if not drawn.any():
        return drawn
    return np.asarray(drawn & (owner == np.bincount(owner[drawn]).argmax()))


def _recoloured(pixels: Pixels, part: npt.NDArray[np.bool_], rgb: tuple[int, int, int]) -> Pixels:
    """`pixels` with `part` in the colour `rgb`, lighter and darker places kept as such."""
    values = pixels.astype(np.float64)
    if part.any():
        light = values[part].mean(axis=-1, keepdims=True)
        values[part] = np.asarray(rgb, np.float64) + _RELIEF * (light - light.mean())
    return values.clip(0, 255).astype(np.uint8)
