"""Items in the form that rerank servers take: plain text, or content parts with images as data URLs.

The form is the one that vLLM documents for `/v1/rerank` and `LLM.score` (docs/models/pooling_models/scoring.md):
`{"content": [{"type": "image_url", "image_url": {"url": "data:..."}}, {"type": "text", "text": "..."}]}`.
"""

from __future__ import annotations

import base64
import io
from typing import Any

from mrb.data.images import ImageCaps, read_header
from mrb.data.items import ImageHandle, Item

_UNTURNED = (None, 1)
_ORIENTATION = 0x0112
_SENT_AS_THEY_ARE = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def make_content(item: Item) -> str | dict[str, Any]:
    """Return `item` as a query or document of a request: its text alone, or parts, the images before the text."""
    if not item.images:
        return item.text
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": encode_data_url(image)}} for image in item.images
    ]
    if item.text:
        parts.append({"type": "text", "text": item.text})
    return {"content": parts}


def encode_data_url(image: ImageHandle) -> str:
    """Return the image as a `data:` URL that any decoder decodes to the pixels of `image.open()`.

    Raises DataError if the image is damaged or over its task's limits.
    """
    data, kind = encode_plain_file(image)
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def encode_plain_file(image: ImageHandle) -> tuple[bytes, str]:
    """Return (bytes, media type) of a file that any decoder decodes to the pixels of `image.open()`.

    The file itself if it is an upright, opaque PNG, JPEG or WebP with one frame; otherwise the opened image as PNG.
    Raises DataError if the image is damaged or over its task's limits.
    """
    opened = image.open()  # first: it checks the bytes against the task's limits
    data = image.encoded
    kind = _find_media_type(data, image.size, opened.size)
    if kind is not None:
        return data, kind
    buffer = io.BytesIO()
    opened.save(buffer, "PNG")
    return buffer.getvalue(), "image/png"


def _find_media_type(data: bytes, stored: tuple[int, int], opened: tuple[int, int]) -> str | None:
    """Return the media type of a file all decoders read alike, None if `open()` rotates, shrinks or flattens it."""
    header = read_header(data, ImageCaps(max_bytes=len(data), max_pixels=stored[0] * stored[1]), "image")
    plain = (
        header.mode in ("RGB", "L")
        and not header.has_transparency_data
        and getattr(header, "n_frames", 1) == 1
        and header.getexif().get(_ORIENTATION) in _UNTURNED
        and stored == opened
    )
    return _SENT_AS_THEY_ARE.get(header.format or "") if plain else None
