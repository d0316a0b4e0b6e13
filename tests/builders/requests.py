"""Requests to put to a reranker: every modality on either side, and the odd cases."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from mrb.data.items import ImageHandle, Item
from mrb.rerankers.reranker import Request

INSTRUCTION = "Find the picture or text that answers the question."
LONG = " ".join(f"word{i} and letter {chr(97 + i % 26)}" for i in range(90))


def picture(width: int, height: int, seed: int = 0) -> ImageHandle:
    """A PNG of smooth random colours."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "PNG")
    data = buffer.getvalue()
    return ImageHandle(lambda: data, where=f"picture {seed}")


def texts() -> list[Request]:
    """Text on both sides: mixed lengths, an empty document, an empty query, duplicates, other scripts."""
    documents = [
        Item(t) for t in ("Paris is the capital.", LONG, "no", "", "Grüße, 世界 🙂", "no", " spaced\n\nout \n")
    ]
    return [
        Request(INSTRUCTION, Item("What is the capital of France?"), documents, 1),
        Request(INSTRUCTION, Item(""), documents[:3], 2),
        Request("", Item("ends with a line break\n"), documents[:5], 3),
        Request(INSTRUCTION, Item("one candidate"), documents[:1], 4),
    ]


def mixed() -> list[Request]:
    """Text, image and both on both sides; a tiny, a huge, a narrow and a repeated image."""
    repeated = picture(70, 50, 1)
    documents = [
        Item("only text"),
        Item("", repeated),
        Item("text and picture", picture(40, 90, 2)),
        Item("", repeated),
        Item(LONG, repeated),
        Item("", picture(1, 1, 3)),
        Item("wide", picture(1500, 900, 4)),
        Item("narrow", picture(300, 20, 5)),
        Item(""),
    ]
    return [
        Request(INSTRUCTION, Item("which one?"), documents, 11),
        Request(INSTRUCTION, Item("", picture(120, 80, 6)), documents[:7], 12),
        Request(INSTRUCTION, Item("changed to red", repeated), documents[1:], 13),
    ]
