"""Drawings: decode, flatten, shrink, encode, compare."""

import io
from functools import cache
from hashlib import sha256

import cairosvg
import numpy as np
from numpy.typing import NDArray
from PIL import Image

FLAG_WIDTH, FLAG_HEIGHT = 128, 96
EMOJI_SIDE = 64
COLOURS = 48


def flatten(data: bytes) -> Image.Image:
    """A PNG as RGB on white: transparency is drawn differently by every viewer, white by none."""
    drawing = Image.open(io.BytesIO(data)).convert("RGBA")
    paper = Image.new("RGBA", drawing.size, "white")
    return Image.alpha_composite(paper, drawing).convert("RGB")


def render_svg(svg: bytes, width: int, height: int) -> Image.Image:
    """An SVG as RGB on white, at the given size."""
    return flatten(cairosvg.svg2png(bytestring=svg, output_width=width, output_height=height))


def encode(drawing: Image.Image) -> bytes:
    """A small PNG: an adaptive palette without dithering is a third of the size and looks the same."""
    palette = drawing.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return save_png(palette)


def save_png(drawing: Image.Image) -> bytes:
    """PNG bytes without any metadata."""
    stream = io.BytesIO()
    drawing.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


@cache
def pixel_digest(data: bytes) -> str:
    """A hash of what an image shows: mode, size and bytes of its decoded RGBA pixels."""
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    head = f"{image.mode} {image.width}x{image.height}\n".encode()
    return sha256(head + image.tobytes()).hexdigest()


def thumbnail(data: bytes, side: int = 32) -> NDArray[np.float32]:
    """An image as a float array [side, side, 3] in 0..255, for comparing drawings."""
    image = Image.open(io.BytesIO(data)).convert("RGB").resize((side, side), Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float32)
