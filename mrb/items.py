"""What a reranker sees: `Item`, a text and an image handle, and nothing that names where it came from."""

from __future__ import annotations

import io
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mrb.errors import DataError
from mrb.hashing import sha256_bytes, sha256_json

if TYPE_CHECKING:
    from PIL import Image as PILImage

ALLOWED_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


@dataclass(frozen=True)
class ImageCaps:
    """What a task allows of one image. Bytes and pixels beyond are refused; `downscale_pixels` shrinks on decode."""

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 89_478_485  # Pillow's own limit, beyond which it warns of a decompression bomb
    downscale_pixels: int | None = None


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
        """(width, height) in pixels as the header states them, before any downscaling; decodes no pixels."""
        image = self._checked_header(self.encoded)
        return image.size

    def open(self) -> PILImage.Image:
        """The decoded RGB image, a copy of the caller's own; transparent parts are laid on white.

        Over the task's caps, truncated or not an image: DataError that names it. A task may declare a downscale, which
        is then applied here and recorded in the task's definition.
        """
        if self._cache is None:
            return self._decode()
        return self._cache.get(self.sha256, self._decode).copy()

    def _checked_header(self, data: bytes) -> PILImage.Image:
        from PIL import Image

        try:
            with warnings.catch_warnings():
                # Pillow's decompression-bomb warning is an error here; the cap below is the task's own.
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                image = Image.open(io.BytesIO(data), formats=ALLOWED_FORMATS)
        except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError) as error:
            raise DataError(f"{self._where}: not an image that MRB reads: {error}") from error
        width, height = image.size
        if width * height > self._caps.max_pixels:
            raise DataError(
                f"{self._where}: image of {width} x {height} pixels, over the task's {self._caps.max_pixels}"
            )
        return image

    def _decode(self) -> PILImage.Image:
        from PIL import Image

        image = self._checked_header(self.encoded)
        target = self._caps.downscale_pixels
        width, height = image.size
        scale = 1.0 if target is None else min(1.0, (target / (width * height)) ** 0.5)
        wanted = (max(1, int(width * scale)), max(1, int(height * scale)))
        try:
            image.draft("RGB", wanted)
            flat = _flatten(image)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{self._where}: damaged image: {error}") from error
        return flat if flat.size == wanted else flat.resize(wanted, Image.Resampling.BICUBIC)


class DecodeCache:
    """Decoded images by content hash, bounded in bytes of pixels; the least recently used leave first."""

    def __init__(self, max_bytes: int = 256 * 1024 * 1024) -> None:
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self._bytes = 0
        self._images: OrderedDict[str, PILImage.Image] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, decode: Callable[[], PILImage.Image]) -> PILImage.Image:
        """The image of `key`, decoded by `decode` if it is not held. Safe to call from several threads."""
        with self._lock:
            image = self._images.get(key)
            if image is not None:
                self._images.move_to_end(key)
                self.hits += 1
                return image
            self.misses += 1
        image = decode()
        with self._lock:
            if key not in self._images:
                self._images[key] = image
                self._bytes += _pixel_bytes(image)
            while self._bytes > self.max_bytes and self._images:
                _, old = self._images.popitem(last=False)
                self._bytes -= _pixel_bytes(old)
        return image


@dataclass(frozen=True)
class Item:
    """A query or a candidate: `text` (empty where there is none) and `image` (None where there is none)."""

    text: str = ""
    image: ImageHandle | None = None

    @cached_property
    def content_hash(self) -> str:
        """The SHA-256 of what the item shows (64 hex digits): equal content, equal hash. A key for caches."""
        return sha256_json([self.text, self.image.sha256 if self.image else None])


def _flatten(image: PILImage.Image) -> PILImage.Image:
    """RGB pixels of the first frame, transparency laid on white (a black ground would hide dark drawings)."""
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")


def _pixel_bytes(image: PILImage.Image) -> int:
    return image.width * image.height * len(image.getbands())
