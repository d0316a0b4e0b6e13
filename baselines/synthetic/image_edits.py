"""Edit images as a text says (mirror, recolour), and measure whether an image has the skin tone that a text names."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from mrb.baselines.retrievers.colours import COLOURS, SHADES, TONES, find_mentions, name_pixels
from mrb.baselines.retrievers.features import ImageFeatures, find_ink

Pixels = npt.NDArray[np.uint8]

_TURNED = re.compile(r"\b(facing|looking|pointing|turned|going) (to the )?(right|left)\b|\bmirror(ed)?\b|\bflipped\b")
_TONE = re.compile(r"\b(light|medium-light|medium|medium-dark|dark) skin\b")
_RELIEF = 0.5  # share of the brightness differences that recolouring keeps


def edit_image(picture: ImageFeatures, text: str) -> ImageFeatures | None:
    """Return `picture` with the changes that `text` names and this module knows; None if it names none."""
    lowered = text.lower()
    pixels = picture.pixels
    named = find_mentions(lowered)
    if named:
        colour = COLOURS[named[0][1]]
        pixels = _recolour(pixels, _main_part(pixels), SHADES[colour][0])
    if _TURNED.search(lowered):
        pixels = pixels[:, ::-1]
    return None if pixels is picture.pixels else ImageFeatures(np.ascontiguousarray(pixels))


def measure_tone(text: str, picture: ImageFeatures) -> float:
    """Return the share of the image's skin with the tone that `text` names, 0 to 1; 0 if it names none."""
    tone = _TONE.search(text.lower())
    return float(picture.tones[TONES.index(tone.group(1))]) if tone else 0.0


def _main_part(pixels: Pixels) -> npt.NDArray[np.bool_]:
    """Return the drawn pixels of the drawing's most frequent colour."""
    owner = name_pixels(pixels.astype(np.float64)).argmax(axis=-1)
    drawn = find_ink(pixels)
    if not drawn.any():
        return drawn
    return np.asarray(drawn & (owner == np.bincount(owner[drawn]).argmax()))


def _recolour(pixels: Pixels, part: npt.NDArray[np.bool_], rgb: tuple[int, int, int]) -> Pixels:
    """Return `pixels` with `part` in the colour `rgb`, keeping lighter and darker places."""
    values = pixels.astype(np.float64)
    if part.any():
        light = values[part].mean(axis=-1, keepdims=True)
        values[part] = np.asarray(rgb, np.float64) + _RELIEF * (light - light.mean())
    return values.clip(0, 255).astype(np.uint8)
