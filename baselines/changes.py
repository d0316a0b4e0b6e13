"""Pictures changed as a text says: turned round, recoloured, given another skin tone."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
from mrb.baselines.colours import COLOURS, SHADES, mentions, pixel_colours, to_lab
from mrb.baselines.features import Picture, ink

Pixels = npt.NDArray[np.uint8]

_TURNED = re.compile(r"\b(facing|looking|pointing|turned|going) (to the )?(right|left)\b|\bmirror(ed)?\b|\bflipped\b")
_TONE = re.compile(r"\b(light|medium-light|medium|medium-dark|dark) skin\b")
# The five tones of the Fitzpatrick scale as emoji are drawn, and the yellow of those without a tone; set by hand.
_NEUTRAL = (255, 205, 65)
_TONES = {
    "light": (248, 221, 198),
    "medium-light": (234, 198, 156),
    "medium": (202, 157, 120),
    "medium-dark": (165, 113, 74),
    "dark": (106, 76, 60),
}
_SKIN = np.array([_NEUTRAL, *_TONES.values()], np.float32)
_SKIN_RADIUS = 20.0  # L*a*b* units
_RELIEF = 0.5  # how much of the light and shade of a recoloured part stays


def changed(picture: Picture, text: str) -> Picture | None:
    """`picture` with the changes that `text` names and this module knows; None if it names none of them."""
    lowered = text.lower()
    pixels = picture.pixels
    tone = _TONE.search(lowered)
    if tone:
        pixels = _recoloured(pixels, _skin(pixels), _TONES[tone.group(1)])
    elif named := mentions(lowered):
        colour = COLOURS[named[0][1]]
        pixels = _recoloured(pixels, _main_part(pixels), SHADES[colour][0])
    if _TURNED.search(lowered):
        pixels = pixels[:, ::-1]
    return None if pixels is picture.pixels else Picture(np.ascontiguousarray(pixels))


def _skin(pixels: Pixels) -> npt.NDArray[np.bool_]:
    """The pixels near the tone that most of the picture has, of the five tones and the neutral yellow."""
    distance = np.linalg.norm(to_lab(pixels.astype(np.float32))[:, :, None] - to_lab(_SKIN), axis=-1)
    near = distance < _SKIN_RADIUS
    return np.asarray(near[..., near.sum(axis=(0, 1)).argmax()])


def _main_part(pixels: Pixels) -> npt.NDArray[np.bool_]:
    """The drawn pixels of the colour that most of the drawing has."""
    owner = pixel_colours(pixels.astype(np.float32)).argmax(axis=-1)
    drawn = ink(pixels)
    if not drawn.any():
        return drawn
    return np.asarray(drawn & (owner == np.bincount(owner[drawn]).argmax()))


def _recoloured(pixels: Pixels, part: npt.NDArray[np.bool_], rgb: tuple[int, int, int]) -> Pixels:
    """`pixels` with `part` in the colour `rgb`, lighter and darker places kept as such."""
    values = pixels.astype(np.float32)
    if part.any():
        light = values[part].mean(axis=-1, keepdims=True)
        values[part] = np.asarray(rgb, np.float32) + _RELIEF * (light - light.mean())
    return values.clip(0, 255).astype(np.uint8)
