"""Render a drawn flag in the styles of the mini suite: flat, waving on white paper, or flat with round corners."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

STYLES = {"waving": 0.6, "flat": 0.2, "round": 0.2}
"""The styles with their sampling probabilities."""
_FLAT = (64, 48)
_PAPER = 64  # side in pixels of the white square of the other two styles
_WIDE, _TALL = 60, 46

Pixels = npt.NDArray[np.uint8]


def render_style(picture: Image.Image, style: str, rng: np.random.Generator) -> bytes:
    """Return `picture` in one of the `STYLES`, as a PNG."""
    made = {"waving": _waving, "flat": _flat, "round": _round}[style](picture, rng)
    out = io.BytesIO()
    made.save(out, "PNG")
    return out.getvalue()


def _flat(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return picture.resize(_FLAT, Image.Resampling.BOX)


def _round(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    flag = picture.resize((_PAPER, _TALL), Image.Resampling.BOX)
    mask = Image.new("L", flag.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, _PAPER - 1, _TALL - 1), radius=7, fill=255)
    paper = Image.new("RGB", (_PAPER, _PAPER), "white")
    paper.paste(flag, (0, (_PAPER - _TALL) // 2), mask)
    return paper


def _waving(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Shift columns up and down along a wave, lighter where it rises."""
    flag = np.asarray(picture.resize((_WIDE, _TALL), Image.Resampling.BOX), np.float64)
    turn = 2 * np.pi * np.arange(_WIDE) / _WIDE + rng.uniform(-0.4, 0.4)
    lift = np.round(3 * np.sin(turn)).astype(int) + (_PAPER - _TALL) // 2
    light = 1 + 0.12 * np.cos(turn)
    paper = np.full((_PAPER, _PAPER, 3), 255.0)
    for column in range(_WIDE):
        paper[lift[column] : lift[column] + _TALL, column + 2] = flag[:, column] * light[column]
    return Image.fromarray(paper.clip(0, 255).astype(np.uint8))
