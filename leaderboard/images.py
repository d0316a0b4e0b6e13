"""Images of the explorer: each distinct one once, named by its hash, containing nothing but pixels.

Every image is decoded within the limits of its task before it is published. A PNG or WebP with nothing but image data
is copied unchanged; anything else (other formats, metadata, trailing bytes) is encoded again.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

from mrb.data.items import ImageHandle, Item
from mrb.errors import DataError
from mrb.leaderboard.page import Page

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PARTS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"gAMA", b"sRGB", b"pHYs", b"bKGD", b"sBIT"})
_WEBP_PARTS = frozenset({b"VP8 ", b"VP8L"})
_HASH_LETTERS = 24
IMAGES = "images/"
"""Folder of the images in the site."""


@dataclass(frozen=True)
class SiteImage:
    """An image of the site: its path, and its size in pixels."""

    path: str
    width: int
    height: int


class ImageStore:
    """The images that pages have asked for."""

    def __init__(self) -> None:
        self._known: dict[str, SiteImage] = {}
        self._pending: list[Page] = []

    def request(self, item: Item) -> tuple[SiteImage, ...]:
        """Return the images of an item, in order. DataError names one that cannot be decoded."""
        return tuple(map(self._request, item.images))

    def _request(self, handle: ImageHandle) -> SiteImage:
        found = self._known.get(handle.sha256)
        if found is None:
            kind, data, size = copy_image(handle)
            found = SiteImage(f"{IMAGES}{handle.sha256[:_HASH_LETTERS]}.{kind}", *size)
            self._known[handle.sha256] = found
            self._pending.append(Page(found.path, data))
        return found

    def take_new(self) -> list[Page]:
        """Return the files of images that are new since the last call."""
        pending, self._pending = self._pending, []
        return pending


def copy_image(handle: ImageHandle) -> tuple[str, bytes, tuple[int, int]]:
    """Return (suffix, bytes, (width, height)) of an image that is safe to publish.

    Raises DataError if it cannot be decoded.
    """
    data, image = handle.encoded, handle.open()
    kind = find_plain_kind(data)
    if kind is not None and handle.size == image.size:
        return kind, data, image.size
    buffer = io.BytesIO()
    try:
        image.save(buffer, "WEBP", quality=85, method=4)
    except (OSError, ValueError) as error:  # larger than the format allows
        raise DataError(f"image {handle.sha256[:12]} of {image.size} cannot be encoded: {error}") from error
    return "webp", buffer.getvalue(), image.size


def find_plain_kind(data: bytes) -> str | None:
    """Return "png" or "webp" if the file consists of image data and nothing else, to its last byte; else None."""
    if data.startswith(_PNG):
        parts = _read_chunks(data, len(_PNG), ">I4x", 4, 12)
        return "png" if parts and set(parts) <= _PNG_PARTS and parts[-1] == b"IEND" else None
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and int.from_bytes(data[4:8], "little") == len(data) - 8:
        parts = _read_chunks(data, 12, "<4xI", 0, 8)
        return "webp" if parts and len(parts) == 1 and set(parts) <= _WEBP_PARTS else None
    return None


def _read_chunks(data: bytes, start: int, head: str, name_at: int, extra: int) -> list[bytes] | None:
    """Return the names of a file's chunks, None if their lengths do not end with the file.

    `head` unpacks a chunk's length, `extra` is a chunk's size beside its content; WebP (little-endian) pads to even
    lengths.
    """
    names: list[bytes] = []
    while start < len(data):
        if len(data) - start < 8:
            return None
        (length,) = struct.unpack_from(head, data, start)
        names.append(data[start + name_at : start + name_at + 4])
        start += extra + length + (length % 2 if head.startswith("<") else 0)
    return names if start == len(data) else None
