"""The aspect ratio of images that models take."""

from __future__ import annotations

from mrb.data.items import ImageHandle

LONGEST = 200
"""The largest aspect ratio that Qwen-VL's resizing accepts."""


def refuse_thin(image: ImageHandle) -> None:
    """Raise DataError for an image whose aspect ratio is above LONGEST: Qwen's own resizing refuses it."""
    width, height = image.open_size
    if max(height, width) > LONGEST * min(height, width):
        raise image.error(f"an image of {width} x {height} pixels is too thin for this model ({LONGEST} to 1 at most)")
