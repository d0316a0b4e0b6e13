"""Hand-made image features: a small thumbnail, edge directions, named colours. Not trained, numpy only.

Computed in float64: a first stage rounds its scores, so that a list is the same on every machine.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from mrb.baselines.retrievers.colours import compute_tone_shares, convert_to_lab, name_pixels, normalise
from mrb.data.items import ImageHandle

Float64 = npt.NDArray[np.float64]
T = TypeVar("T")

SIDE = 32  # pixels of the square that every feature is computed on
_CELLS = 4  # edge cells a side
_DIRECTIONS = 8
_INK = 12.0  # a pixel with all channels this close to 255 is background
# Weights of the parts of `vector`. They sum to 1, so that the inner product of two vectors is a cosine. Set by hand on
# the training split of the mini suite.
_SHARES = {"thumbnail": 0.2, "edges": 0.45, "colours": 0.15, "outline": 0.2}


@dataclass(frozen=True)
class ImageFeatures:
    """An image reduced to `pixels`, (32, 32, 3) sRGB values 0 to 255, and features computed from them."""

    pixels: npt.NDArray[np.uint8]

    @cached_property
    def colour_map(self) -> Float64:
        """(8, 8, 11): the share of each colour of `colours.COLOURS` in each cell of the image; top left first."""
        return _average_cells(name_pixels(self.pixels.astype(np.float64)))

    @cached_property
    def palette(self) -> Float64:
        """(11,): the square root of the share of the image that each colour covers; of length 1."""
        return normalise(np.sqrt(self.colour_map.mean(axis=(0, 1))))

    @cached_property
    def tones(self) -> Float64:
        """(6,): the shares of `colours.TONES` among the image's skin pixels."""
        return compute_tone_shares(self.pixels.reshape(-1, 3).astype(np.float64))

    @cached_property
    def vector(self) -> Float64:
        """(395,): thumbnail (8 x 8 L*a*b*, relative to white), edges, colours, outline (8 x 8, where something is
        drawn).

        Each part has length 1 before weighting: the inner product of two vectors is their images' similarity, at most
        1. An empty part (the edges of a plain field) is 0 and similar to nothing.
        """
        thumbnail = _average_cells(
            convert_to_lab(self.pixels.astype(np.float64)) - np.array([100, 0, 0], np.float64)
        ).ravel()
        drawn = self.colour_map.mean(axis=(0, 1)) * _DRAWN_WEIGHT
        outline = _average_cells(find_ink(self.pixels)[..., None].astype(np.float64)).ravel()
        parts = {
            "thumbnail": thumbnail,
            "edges": self._edges,
            "colours": np.sqrt(drawn),
            "outline": outline - outline.mean(),
        }
        return np.concatenate([normalise(parts[name]) * np.sqrt(np.float64(share)) for name, share in _SHARES.items()])

    @cached_property
    def _edges(self) -> Float64:
        """Histogram of oriented gradients (Dalal and Triggs, CVPR 2005): 4 x 4 cells, 8 unsigned directions."""
        grey = self.pixels.astype(np.int64) @ np.array([299, 587, 114])  # integers: a flat part has exactly no edges
        down, across = np.gradient(grey)
        strength = np.hypot(down, across)
        angle = np.mod(np.arctan2(down, across), np.pi) / np.pi * _DIRECTIONS
        low = np.floor(angle).astype(int) % _DIRECTIONS
        high_share = angle - np.floor(angle)
        rows, columns = np.divmod(np.arange(SIDE * SIDE), SIDE)
        cell = (rows * _CELLS // SIDE) * _CELLS + columns * _CELLS // SIDE
        histogram = np.zeros(_CELLS * _CELLS * _DIRECTIONS, np.float64)
        for direction, share in ((low, 1 - high_share), ((low + 1) % _DIRECTIONS, high_share)):
            np.add.at(histogram, cell * _DIRECTIONS + direction.ravel(), (strength * share).ravel())
        return np.sqrt(histogram)


# Drawings have a white background, so white counts little when they are compared by colour.
_DRAWN_WEIGHT = np.array([1, 0.2, 1, 1, 1, 1, 1, 1, 1, 1, 1], np.float64)


def read_image_features(image: ImageHandle) -> ImageFeatures:
    """Return the features of an image: white margins cropped, the rest resized to 32 x 32 whatever its shape."""
    from PIL import Image

    picture = image.open()
    box = find_ink_box(np.asarray(picture))
    small = picture.resize((SIDE, SIDE), Image.Resampling.BOX, box=box)
    return ImageFeatures(np.asarray(small))


class ImageCache(Generic[T]):
    """A least-recently-used cache of values computed from images, keyed by the image's SHA-256."""

    def __init__(self, compute: Callable[[ImageHandle], T], limit: int) -> None:
        self._compute = compute
        self._limit = limit
        self._held: OrderedDict[str, T] = OrderedDict()

    def __call__(self, image: ImageHandle) -> T:
        """Return the value computed from `image`, computed once while it is cached."""
        key = image.sha256
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        made = self._held[key] = self._compute(image)
        if len(self._held) > self._limit:
            self._held.popitem(last=False)
        return made


def _average_cells(values: Float64) -> Float64:
    """Average (32, 32, n) values to (8, 8, n)."""
    block = SIDE // 8
    return np.asarray(values.reshape(8, block, 8, block, -1).mean(axis=(1, 3)), np.float64)


def find_ink(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return where something is drawn: pixels that are not close to white."""
    # Channel by channel: numpy is much slower at reducing an axis of length 3.
    red, green, blue = np.moveaxis(pixels < 255 - _INK, -1, 0)
    return np.asarray(red | green | blue)


def find_ink_box(pixels: npt.NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the non-white area; the whole image if nothing is drawn."""
    drawn = find_ink(pixels)
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if not len(rows):
        return 0, 0, pixels.shape[1], pixels.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
