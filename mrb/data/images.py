"""From encoded bytes to RGB pixels: untrusted images, under a task's own caps.

The format is told by the file's first bytes and its Pillow class is used directly. `PIL.Image.open` is not: its guard
against decompression bombs is one global number with a warning that cannot be caught per thread, and some sets hold
honest pictures above it. Here the header's size is held to the task's cap before any pixel is decoded, so the global
guard stays as it is for everyone else in the process.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from mrb.errors import DataError, one_line

if TYPE_CHECKING:
    from PIL import Image as PILImage
    from PIL.ImageFile import ImageFile

# First bytes, Pillow module, class. A WebP's first bytes are looked at more closely in `_plugin`.
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PngImagePlugin", "PngImageFile"),
    (b"\xff\xd8\xff", "JpegImagePlugin", "JpegImageFile"),
    (b"RIFF", "WebPImagePlugin", "WebPImageFile"),
    (b"GIF87a", "GifImagePlugin", "GifImageFile"),
    (b"GIF89a", "GifImagePlugin", "GifImageFile"),
    (b"BM", "BmpImagePlugin", "BmpImageFile"),
    (b"II*\x00", "TiffImagePlugin", "TiffImageFile"),
    (b"MM\x00*", "TiffImagePlugin", "TiffImageFile"),
)
FORMATS = "PNG, JPEG, WebP, GIF, BMP, TIFF"
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class ImageCaps:
    """What a task allows of one image. Bytes and pixels beyond are refused; `downscale_pixels` shrinks on decode.

    `max_pixels` may lie above the default, which is Pillow's own limit; only WebP stays under twice that limit.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 89_478_485
    downscale_pixels: int | None = None


def read_header(data: bytes, caps: ImageCaps, where: str) -> ImageFile:
    """The image with its header read and its size checked against `caps`; no pixel is decoded yet.

    DataError names the image (`where`) if it is none of FORMATS, damaged, or too large.
    """
    found = _plugin(data)
    if found is None:
        raise DataError(f"{where}: not an image that MRB reads ({FORMATS}); it begins with {data[:8]!r}")
    module, name = found
    try:
        image: ImageFile = getattr(import_module(f"PIL.{module}"), name)(io.BytesIO(data))
    except Exception as error:  # Pillow's parsers raise many kinds on hostile bytes
        raise DataError(f"{where}: damaged image: {_said(error)}") from error
    width, height = image.size
    if width * height > caps.max_pixels:
        raise DataError(f"{where}: image of {width} x {height} pixels, over the task's {caps.max_pixels}")
    return image


def decode(data: bytes, caps: ImageCaps, where: str) -> PILImage.Image:
    """The first frame as RGB, upright by its EXIF orientation, transparency on white, within `caps`."""
    from PIL import Image

    image = read_header(data, caps, where)
    wanted = fitting_size(image.size, caps.downscale_pixels)
    try:
        if wanted != image.size:
            image.draft("RGB", wanted)  # a JPEG is then decoded at 1/2, 1/4 or 1/8: a large one is never held whole
        image.load()
        flat = _flatten(image)
        if flat.size != wanted:
            flat = flat.resize(wanted, Image.Resampling.BICUBIC)
    except Exception as error:
        raise DataError(f"{where}: damaged image: {_said(error)}") from error
    return _upright(flat, image)


def fitting_size(size: tuple[int, int], pixels: int | None) -> tuple[int, int]:
    """(width, height) of the same shape with at most `pixels` in all; never larger than `size`."""
    width, height = size
    if pixels is None or width * height <= pixels:
        return size
    scale = (pixels / (width * height)) ** 0.5
    # A very long image ends one pixel thin, and its length then gives way.
    thin = max(1, int(min(width, height) * scale))
    long = max(1, min(int(max(width, height) * scale), pixels // thin))
    return (long, thin) if width >= height else (thin, long)


def _plugin(data: bytes) -> tuple[str, str] | None:
    for signature, module, name in _SIGNATURES:
        if data.startswith(signature) and (signature != b"RIFF" or data[8:12] == b"WEBP"):
            return module, name
    return None


def _flatten(image: PILImage.Image) -> PILImage.Image:
    """RGB pixels, transparency laid on white (a black ground would hide dark drawings)."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        # Pillow's own conversion cuts every value over 255 to white.
        return image.point(lambda value: value * (1 / 257)).convert("L").convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of 32 bits (mode {image.mode}), whose range the file does not state")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, rgba).convert("RGB")
    if image.mode == "RGB":
        return image  # Pillow would copy it, which takes almost as long as decoding a JPEG
    return image.convert("RGB")


def _upright(flat: PILImage.Image, source: PILImage.Image) -> PILImage.Image:
    """`flat` turned as the EXIF orientation of `source` says, as `datasets` does when it decodes."""
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    try:
        turn = turns.get(source.getexif().get(_ORIENTATION, 1))
    except Exception:
        return flat  # EXIF that cannot be parsed states no orientation
    return flat if turn is None else flat.transpose(turn)


def _said(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}", limit=200)
