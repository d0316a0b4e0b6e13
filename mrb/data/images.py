"""Decode untrusted image bytes to RGB pixels within the limits of a task.

The first bytes of a file give its format, and the format's Pillow class is used directly. `PIL.Image.open` is not used:
its guard against decompression bombs is one global number with a warning that cannot be caught per thread, and some
data sets hold valid images above it. Here the size in the header is checked against the task's limit before any pixel
is decoded, so the global guard stays unchanged for other code in the process.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from mrb.errors import DataError, to_one_line

if TYPE_CHECKING:
    from PIL import Image as PILImage
    from PIL.ImageFile import ImageFile

# First bytes, Pillow module, class. `_find_plugin` checks WebP further, because RIFF holds other formats too.
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
    """The limits of a task for one image.

    An image with more bytes or pixels is refused. One over `downscale_pixels` is shrunk when decoded. `max_pixels` may
    be above the default, which is Pillow's own limit; only WebP stays under twice that limit.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 89_478_485
    downscale_pixels: int | None = None


def read_header(data: bytes, caps: ImageCaps, where: str) -> ImageFile:
    """Return the image with its header read and its size checked against `caps`; no pixel is decoded.

    Raises DataError, which names the image by `where`, if it is none of FORMATS, damaged or too large.
    """
    found = _find_plugin(data)
    if found is None:
        raise DataError(f"{where}: not an image that MRB reads ({FORMATS}); it begins with {data[:8]!r}")
    module, name = found
    try:
        image: ImageFile = getattr(import_module(f"PIL.{module}"), name)(io.BytesIO(data))
    except Exception as error:  # Pillow's parsers raise many kinds of errors on hostile bytes
        raise DataError(f"{where}: damaged image: {_describe_error(error)}") from error
    width, height = image.size
    if width * height > caps.max_pixels:
        raise DataError(f"{where}: image of {width} x {height} pixels, over the task's {caps.max_pixels}")
    return image


def decode_image(data: bytes, caps: ImageCaps, where: str) -> PILImage.Image:
    """Decode the first frame to RGB, rotated by its EXIF orientation, on white where transparent, within `caps`.

    Raises DataError, which names the image by `where`, if it cannot be decoded or exceeds the limits.
    """
    from PIL import Image

    image = read_header(data, caps, where)
    wanted = fit_size(image.size, caps.downscale_pixels)
    try:
        if wanted != image.size:
            image.draft("RGB", wanted)  # decodes a JPEG at 1/2, 1/4 or 1/8, so a large one never fills memory
        image.load()
        flat = _flatten(image)
        if flat.size != wanted:
            flat = flat.resize(wanted, Image.Resampling.BICUBIC)
    except Exception as error:
        raise DataError(f"{where}: damaged image: {_describe_error(error)}") from error
    return _rotate_upright(flat, image)


def fit_size(size: tuple[int, int], pixels: int | None) -> tuple[int, int]:
    """Return (width, height) with the aspect ratio of `size` and at most `pixels` pixels; never larger than `size`."""
    width, height = size
    if pixels is None or width * height <= pixels:
        return size
    scale = (pixels / (width * height)) ** 0.5
    # The short side of a very long image is at least one pixel; the long side is then cut to the limit.
    thin = max(1, int(min(width, height) * scale))
    long = max(1, min(int(max(width, height) * scale), pixels // thin))
    return (long, thin) if width >= height else (thin, long)


def _find_plugin(data: bytes) -> tuple[str, str] | None:
    for signature, module, name in _SIGNATURES:
        if data.startswith(signature) and (signature != b"RIFF" or data[8:12] == b"WEBP"):
            return module, name
    return None


def _flatten(image: PILImage.Image) -> PILImage.Image:
    """Convert to RGB, with transparent parts on white: a black background would hide dark drawings."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips every value over 255 to white.
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


def _rotate_upright(flat: PILImage.Image, source: PILImage.Image) -> PILImage.Image:
    """Rotate `flat` by the EXIF orientation of `source`, as `datasets` does when it decodes."""
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


def _describe_error(error: Exception) -> str:
    return to_one_line(f"{type(error).__name__}: {error}", limit=200)
