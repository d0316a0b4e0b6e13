"""`Item`, the input of a reranker: a text and images, without ids or other information on the source."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mrb._util.hashing import hash_bytes, hash_json
from mrb.data.images import ImageCaps, decode_image, fit_size, read_header
from mrb.errors import DataError

if TYPE_CHECKING:
    from PIL import Image as PILImage

__all__ = ["DecodeCache", "ImageCaps", "ImageHandle", "Item"]

FEW = 64
"""An image is large if the cache has no room for this many of its size; a candidate list then exceeds the cache."""
SOON = 2
"""The number of large images that are remembered as requested once."""


class ImageHandle:
    """A lazy image: its encoded bytes are read when needed, and its pixels are decoded by `open`.

    Args:
        read: Returns the encoded bytes.
        where: The image's name in errors, which a reranker never sees.
        caps: The limits of the task; the defaults if None.
        cache: A cache of decoded images; without one every `open` decodes.
    """

    __slots__ = ("__dict__", "_cache", "_caps", "_read", "_where")

    def __init__(
        self,
        read: Callable[[], bytes],
        *,
        where: str,
        caps: ImageCaps | None = None,
        cache: DecodeCache | None = None,
    ) -> None:
        self._read = read
        self._where = where
        self._caps = caps or ImageCaps()
        self._cache = cache

    @property
    def encoded(self) -> bytes:
        """The encoded bytes (PNG, JPEG, ...) as the data set holds them. DataError if they exceed the task's limit."""
        data = self._read()
        if len(data) > self._caps.max_bytes:
            raise DataError(f"{self._where}: image of {len(data)} bytes, the task allows {self._caps.max_bytes}")
        return data

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the encoded bytes. The same image file has the same key in every request."""
        return hash_bytes(self.encoded)

    @property
    def content_hash(self) -> str:
        """The SHA-256 of the encoded bytes, and of the task's downscale if it declares one: a key for what is computed
        of the pixels."""
        scale = self._caps.downscale_pixels
        return self.sha256 if scale is None else hash_json([self.sha256, scale])

    @cached_property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels from the header, before rotation and downscaling. No pixel is decoded."""
        return read_header(self.encoded, self._caps, self._where).size

    @cached_property
    def open_size(self) -> tuple[int, int]:
        """(width, height) of the image that `open` returns, possibly swapped by rotation. No pixel is decoded."""
        return fit_size(self.size, self._caps.downscale_pixels)

    def error(self, message: str) -> DataError:
        """Return a DataError that names the image."""
        return DataError(f"{self._where}: {message}")

    def open(self) -> PILImage.Image:
        """Decode the image.

        If the task's definition declares a downscale, it is applied here.

        Returns:
            An RGB image that belongs to the caller, rotated by its EXIF orientation, transparent parts on white.

        Raises:
            DataError: The image exceeds the task's limits, is truncated or is no image. The error names it.
        """
        if self._cache is None:
            return self._decode()
        # The caps are part of the key: they decide the pixels and whether the image is refused.
        return self._cache.get((self.sha256, self._caps), self._decode)

    def _decode(self) -> PILImage.Image:
        return decode_image(self.encoded, self._caps, self._where)


class DecodeCache:
    """A cache of decoded images with a limit in bytes of pixels; the least recently used image is dropped first.

    A candidate list longer than the cache, read in order, would never hit it. So a large image, of which the cache has
    room for few, is stored only when it is requested again soon. A query image that an adapter opens with every
    candidate is such an image.
    """

    def __init__(self, max_bytes: int = 64 * 1024 * 1024) -> None:
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self._bytes = 0
        self._images: OrderedDict[Hashable, PILImage.Image] = OrderedDict()
        self._large: deque[Hashable] = deque(maxlen=SOON)
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """The number of bytes of pixels in the cache."""
        return self._bytes

    def get(self, key: Hashable, decode: Callable[[], PILImage.Image]) -> PILImage.Image:
        """Return a copy of the image of `key`, decoded by `decode_image` if it is not in the cache. Thread-safe."""
        with self._lock:
            held = self._images.get(key)
            if held is not None:
                self._images.move_to_end(key)
                self.hits += 1
            else:
                self.misses += 1
        if held is not None:
            return held.copy()
        image = decode()
        size = _count_pixel_bytes(image)
        with self._lock:
            if not self._wanted(key, size):
                return image
            self._images[key] = image
            self._bytes += size
            while self._bytes > self.max_bytes:
                _, old = self._images.popitem(last=False)
                self._bytes -= _count_pixel_bytes(old)
        return image.copy()

    def _wanted(self, key: Hashable, size: int) -> bool:
        """Return whether to store a newly decoded image. One larger than the whole cache would only evict the rest."""
        if key in self._images or size > self.max_bytes:
            return False
        if size * FEW <= self.max_bytes:
            return True
        if key in self._large:
            self._large.remove(key)
            return True
        self._large.append(key)
        return False


@dataclass(frozen=True, init=False)
class Item:
    """A query or a candidate: `text` (empty where there is none) and `images`, in order (most have none or one).

    Args:
        text: The text.
        image: The only image; None where there is none.
        images: The images, instead of `image`.

    Example:
        >>> Item("a question").image is None
        True
        >>> Item("a question").images
        ()
    """

    text: str
    images: tuple[ImageHandle, ...]

    def __init__(
        self, text: str = "", image: ImageHandle | None = None, *, images: Iterable[ImageHandle] | None = None
    ) -> None:
        if image is not None and images is not None:
            raise TypeError("an item takes image or images, not both")
        given = () if image is None else (image,)
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "images", given if images is None else tuple(images))

    @property
    def image(self) -> ImageHandle | None:
        """The only image; None where there is none.

        Raises DataError, which names the item, if there are several: code that reads one image would score another
        item than the one it was given.
        """
        if len(self.images) > 1:
            raise self.images[0].error(
                f"the item has {len(self.images)} images, and code that takes one image reads it (`item.image`)"
            )
        return self.images[0] if self.images else None

    @cached_property
    def content_hash(self) -> str:
        """The SHA-256 of the item's content (64 hex digits), a key for caches. Equal content gives an equal hash."""
        hashes = [image.content_hash for image in self.images]
        return hash_json([self.text, hashes if len(hashes) > 1 else hashes[0] if hashes else None])


def _count_pixel_bytes(image: PILImage.Image) -> int:
    return image.width * image.height * 4  # Pillow keeps an RGB pixel in four bytes
