"""What a reranker sees: `Item`, a text and an image handle, and nothing that names where it came from."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mrb._util.hashing import sha256_bytes, sha256_json
from mrb.data.images import ImageCaps, decode, fitting_size, read_header
from mrb.errors import DataError

if TYPE_CHECKING:
    from PIL import Image as PILImage

__all__ = ["DecodeCache", "ImageCaps", "ImageHandle", "Item"]

FEW = 64
"""A cache that has not room for so many images of a size does not reach over a list of candidates."""
SOON = 2
"""So many large images later, one that was asked for is forgotten."""


class ImageHandle:
    """A lazy image: its encoded bytes are read when asked for and its pixels decoded when opened.

    `where` names the image in errors and is never shown to a reranker. `read` returns the encoded bytes.
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
        """The encoded bytes (PNG, JPEG, ...), exactly as the data set holds them."""
        data = self._read()
        if len(data) > self._caps.max_bytes:
            raise DataError(f"{self._where}: image of {len(data)} bytes, the task allows {self._caps.max_bytes}")
        return data

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the encoded bytes: the same picture file has the same key in every request."""
        return sha256_bytes(self.encoded)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels as the header states them, before rotation and downscaling; decodes no pixels."""
        return read_header(self.encoded, self._caps, self._where).size

    @cached_property
    def open_size(self) -> tuple[int, int]:
        """(width, height) that `open` gives, up to a quarter turn; decodes no pixels. For planning by size."""
        return fitting_size(self.size, self._caps.downscale_pixels)

    def error(self, message: str) -> DataError:
        """A DataError that names the image."""
        return DataError(f"{self._where}: {message}")

    def open(self) -> PILImage.Image:
        """The decoded RGB image, a copy of the caller's own: upright by its EXIF, transparent parts laid on white.

        Over the task's caps, truncated or not an image: DataError that names it. A task may declare a downscale, which
        is then applied here and recorded in the task's definition.
        """
        if self._cache is None:
            return self._decode()
        # The caps are part of the key: they decide both the pixels and whether there may be any.
        return self._cache.get((self.sha256, self._caps), self._decode)

    def _decode(self) -> PILImage.Image:
        return decode(self.encoded, self._caps, self._where)


class DecodeCache:
    """Decoded images by key, bounded in bytes of pixels; the least recently used leave first.

    Lists that are longer than the cache, read one after another, would never hit it. So large images, of which it has
    room for few, are held only when asked for again soon: as those are that an adapter opens with every candidate.
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
        """Bytes of pixels that the cache holds now."""
        return self._bytes

    def get(self, key: Hashable, decode: Callable[[], PILImage.Image]) -> PILImage.Image:
        """The image of `key`, the caller's own, decoded by `decode` if it is not held. Safe to call from several
        threads."""
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
        size = _pixel_bytes(image)
        with self._lock:
            if not self._wanted(key, size):
                return image
            self._images[key] = image
            self._bytes += size
            while self._bytes > self.max_bytes:
                _, old = self._images.popitem(last=False)
                self._bytes -= _pixel_bytes(old)
        return image.copy()

    def _wanted(self, key: Hashable, size: int) -> bool:
        """Whether an image that was not there is to be held. One that fills the cache alone would only drive the others
        out."""
        if key in self._images or size > self.max_bytes:
            return False
        if size * FEW <= self.max_bytes:
            return True
        if key in self._large:
            self._large.remove(key)
            return True
        self._large.append(key)
        return False


@dataclass(frozen=True)
class Item:
    """A query or a candidate: `text` (empty where there is none) and `image` (None where there is none)."""

    text: str = ""
    image: ImageHandle | None = None

    @cached_property
    def content_hash(self) -> str:
        """The SHA-256 of what the item shows (64 hex digits): equal content, equal hash. A key for caches."""
        return sha256_json([self.text, self.image.sha256 if self.image else None])


def _pixel_bytes(image: PILImage.Image) -> int:
    return image.width * image.height * 4  # Pillow keeps an RGB pixel in four bytes
