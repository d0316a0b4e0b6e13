"""Identity of an item independent of its file: text in a normal form, image by pixels."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mrb.data.items import ImageHandle, Item

THUMBNAIL = 32
"""Side in pixels of the thumbnail on which near-identity is measured."""
SAME_PIXELS = 1.5
"""Images are the same if their thumbnails differ by less, on average over channels, of 255."""
SAME_WORDS = 0.9
"""Texts are the same if they share at least this fraction of their word trigrams."""
_RUN = 3
_SAME_SHAPE = 1.05
_PERSON = b"mrb-train-v1"


def normalize_text(text: str) -> str:
    """Return the text in Unicode's NFKC form, case-folded, with white space collapsed; "" for none."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def hash_text(text: str) -> int:
    """Return an unsigned 64-bit hash of a text's normal form."""
    return _key(b"text", normalize_text(text).encode())


def hash_image(image: ImageHandle) -> int:
    """Return an unsigned 64-bit hash of an image's size and RGB pixels, the same for every encoding of them."""
    opened = image.open()
    return _key(b"image", f"{opened.width}x{opened.height}".encode(), opened.tobytes())


def _key(*parts: bytes) -> int:
    digest = hashlib.blake2b(digest_size=8, person=_PERSON)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return int.from_bytes(digest.digest(), "big")


@dataclass(frozen=True, eq=False)
class Likeness:
    """Features for near-identity: a text's normal form and word trigrams, an image's thumbnail and aspect ratio."""

    text: str
    runs: frozenset[tuple[str, ...]]
    thumbnail: npt.NDArray[np.int16] | None
    shape: float

    @classmethod
    def of(cls, item: Item) -> Likeness:
        """Return the features of an item; its image is decoded."""
        text = normalize_text(item.text)
        words = text.split()
        runs = frozenset(tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1))
        if item.image is None:
            return cls(text, runs, None, 0.0)
        opened = item.image.open()
        small = np.asarray(opened.resize((THUMBNAIL, THUMBNAIL)), np.int16)
        return cls(text, runs, small, opened.width / opened.height)

    def near(self, other: Likeness) -> bool:
        """Return whether two items are nearly identical in both text and image."""
        return self._near_text(other) and self._near_image(other)

    def _near_text(self, other: Likeness) -> bool:
        if self.text == other.text:
            return True
        together = len(self.runs | other.runs)
        return together > 0 and len(self.runs & other.runs) >= SAME_WORDS * together

    def _near_image(self, other: Likeness) -> bool:
        if self.thumbnail is None or other.thumbnail is None:
            return self.thumbnail is other.thumbnail
        if not 1 / _SAME_SHAPE <= self.shape / other.shape <= _SAME_SHAPE:
            return False
        return float(np.abs(self.thumbnail - other.thumbnail).mean()) < SAME_PIXELS
