"""Named colours: the colour words of a text, and the share of an image that each basic colour covers."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

# The eleven basic colour terms of English (Berlin and Kay, "Basic Color Terms", 1969), each with typical shades in
# sRGB. The shades were set by hand, from memory of common named colours; nothing was fitted to data.
SHADES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "black": ((0, 0, 0), (35, 35, 35), (40, 45, 52)),
    "white": ((255, 255, 255), (240, 240, 240)),
    "grey": ((128, 128, 128), (190, 195, 200), (90, 95, 100)),
    "red": ((220, 20, 35), (170, 15, 30), (235, 65, 55), (120, 10, 20)),
    "orange": ((245, 140, 25), (240, 110, 30), (255, 165, 60)),
    "yellow": ((255, 220, 40), (250, 200, 0), (255, 235, 120), (215, 175, 50)),
    "green": ((0, 130, 60), (60, 175, 80), (20, 90, 45), (120, 190, 60)),
    "blue": ((0, 50, 160), (10, 30, 100), (50, 120, 215), (90, 175, 230), (150, 205, 240)),
    "purple": ((125, 50, 155), (170, 110, 205), (85, 30, 110)),
    "pink": ((245, 130, 170), (255, 185, 205), (230, 50, 130)),
    "brown": ((130, 80, 45), (95, 55, 35), (165, 110, 70)),
}
COLOURS = tuple(SHADES)
_OTHER_WORDS = {
    "gray": "grey",
    "silver": "grey",
    "crimson": "red",
    "scarlet": "red",
    "maroon": "red",
    "saffron": "orange",
    "gold": "yellow",
    "golden": "yellow",
    "emerald": "green",
    "olive": "green",
    "azure": "blue",
    "navy": "blue",
    "turquoise": "blue",
    "aqua": "blue",
    "cyan": "blue",
    "violet": "purple",
    "magenta": "pink",
    "tan": "brown",
}
# The neutral yellow of emoji faces, and the five tones of the Fitzpatrick scale as emoji are drawn; set by hand.
_TONE_SHADES: dict[str, tuple[int, int, int]] = {
    "neutral": (255, 205, 65),
    "light": (248, 221, 198),
    "medium-light": (234, 198, 156),
    "medium": (202, 157, 120),
    "medium-dark": (165, 113, 74),
    "dark": (106, 76, 60),
}
TONES = tuple(_TONE_SHADES)
_TONE_RADIUS = 14.0  # in L*a*b* units: farther from every tone is not skin
_INDEX = {word: row for row, word in enumerate(COLOURS)} | {w: COLOURS.index(c) for w, c in _OTHER_WORDS.items()}
_MENTION = re.compile(rf"\b({'|'.join(sorted(_INDEX, key=len, reverse=True))})s?\b")
_SHADED = re.compile(
    rf"\b(light |dark |deep |bright |pale |sky )?({'|'.join(sorted(_INDEX, key=len, reverse=True))})s?\b", re.I
)
_SOFTNESS = 14.0  # in CIE L*a*b* units: shades closer than this to a pixel share it


def find_mentions(text: str) -> list[tuple[int, int]]:
    """Return (position in `text`, row of `COLOURS`) of each colour word, in order."""
    return [(match.start(), _INDEX[match.group(1)]) for match in _MENTION.finditer(text.lower())]


def rename_mentions(text: str, names: Mapping[str, str]) -> str:
    """Return `text` with the words of the colours in `names` replaced; a "light" or "dark" before such a word is
    dropped.
    """

    def name(match: re.Match[str]) -> str:
        other = names.get(COLOURS[_INDEX[match.group(2).lower()]])
        return match.group(0) if other is None else other

    return _SHADED.sub(name, text)


def find_text_colours(text: str) -> Float64:
    """Return the colour words of `text` as a float64 vector over `COLOURS` of length 1; all 0 if there are none.

    A colour's weight is the square root of its number of mentions.
    """
    counts = np.zeros(len(COLOURS), np.float64)
    for _, row in find_mentions(text):
        counts[row] += 1
    return normalise(np.sqrt(counts))


def name_pixels(rgb: Float64) -> Float64:
    """Return the share of each colour (last axis 11, sum 1) for pixels of sRGB values 0 to 255 (any shape, last axis
    3).

    A pixel belongs to the shades near it in CIE L*a*b*, with weights exp(-(distance / 14)^2 / 2).
    """
    lab = convert_to_lab(rgb)
    # Squared distances without the pixel's own square, which the next line would cancel anyway.
    distance = (_SHADE_LAB**2).sum(axis=-1) - 2 * lab @ _SHADE_LAB.T
    # Subtracting the smallest distance keeps weights above 0 for a pixel far from all shades.
    weight = np.exp(-(distance - distance.min(axis=-1, keepdims=True)) / (2 * _SOFTNESS**2))
    share = weight @ _SHADE_OWNER
    return np.asarray(share / share.sum(axis=-1, keepdims=True), np.float64)


def compute_tone_shares(rgb: Float64) -> Float64:
    """Return the shares of the skin tones `TONES` (6,) among the skin pixels of (n, 3) sRGB values 0 to 255; sum at
    most 1.

    If fewer than 1 in 32 pixels are skin the sum is less than 1, so that stray pixels count little.
    """
    distance = np.linalg.norm(convert_to_lab(rgb)[:, None] - _TONE_LAB, axis=-1)
    owner = distance.argmin(axis=-1)[distance.min(axis=-1) < _TONE_RADIUS]
    counts = np.bincount(owner, minlength=len(TONES))
    return np.asarray(counts / max(int(counts.sum()), len(rgb) // 32, 1), np.float64)


def convert_to_lab(rgb: Float64) -> Float64:
    """Convert sRGB values 0 to 255 (last axis 3) to CIE L*a*b* (D65). Formulas: IEC 61966-2-1, CIE 15."""
    value = np.asarray(rgb, np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float64)


def normalise(vector: Float64) -> Float64:
    """Return `vector` (or each row of a matrix) normalised to length 1; a zero vector stays zero."""
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.asarray(vector / np.maximum(length, 1e-12), np.float64)


# sRGB to CIE XYZ, each row divided by the D65 white point, transposed for row vectors.
_TO_XYZ = (
    np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float64)
    / np.array([[0.95047], [1.0], [1.08883]], np.float64)
).T
_SHADE_LAB = convert_to_lab(np.array([shade for shades in SHADES.values() for shade in shades], np.float64))
_SHADE_OWNER = np.repeat(np.eye(len(COLOURS), dtype=np.float64), [len(shades) for shades in SHADES.values()], axis=0)
_TONE_LAB = convert_to_lab(np.array(list(_TONE_SHADES.values()), np.float64))
