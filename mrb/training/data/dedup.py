"""What an item is, whatever file it came in: its text in a normal form, its picture by pixels."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mrb.data.items import ImageHandle, Item

THUMBNAIL = 32
"""Pixels a side of the small picture that near-identity is measured on."""
SAME_PIXELS = 1.5
"""Pictures whose thumbnails differ by less, on average over channels and of 255, are taken for one."""
SAME_WORDS = 0.9
"""Texts that share at least this part of their runs of three words are taken for one."""
_RUN = 3
_SAME_SHAPE = 1.05
_PERSON = b"mrb-train-v1"


def normal_text(text: str) -> str:
    """The text in Unicode's NFKC form, case folded, white space joined: "" for none."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_key(text: str) -> int:
    """An unsigned 64-bit hash of a text's normal form."""
    return _key(b"text", normal_text(text).encode())


def image_key(image: ImageHandle) -> int:
    """An unsigned 64-bit hash of a picture's size and RGB pixels: another encoding of it has the same."""
    opened = image.open()
    return _key(b"image", f"{opened.width}x{opened.height}".encode(), opened.tobytes())


def _key(*parts: bytes) -> int:
    digest = hashlib.blake2b(digest_size=8, person=_PERSON)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return int.from_bytes(digest.digest(), "big")


@dataclass(frozen=True, eq=False)
class Likeness:
    """What near-identity is judged by: a text's normal form and runs of words, a picture's thumbnail and shape."""

    text: str
    runs: frozenset[tuple[str, ...]]
    thumbnail: npt.NDArray[np.int16] | None
    shape: float

    @classmethod
    def of(cls, item: Item) -> Likeness:
        """The likeness of an item; its picture is decoded."""
        text = normal_text(item.text)
        words = text.split()
        runs = frozenset(tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1))
        if item.image is None:
            return cls(text, runs, None, 0.0)
        opened = item.image.open()
        small = np.asarray(opened.resize((THUMBNAIL, THUMBNAIL)), np.int16)
        return cls(text, runs, small, opened.width / opened.height)

    def near(self, other: Likeness) -> bool:
        """Whether the two show the same, or nearly: their texts agree, and their pictures do."""
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
