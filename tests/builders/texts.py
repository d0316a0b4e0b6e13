"""Texts of many lengths, and requests made of them, for tests of rerankers of text."""

from __future__ import annotations

from collections.abc import Sequence

from mrb.data.items import Item
from mrb.rerankers.reranker import Request

TEXTS = [
    "red fox",
    "",
    "what is the colour of a red fox that jumps over blue hills",
    "blue",
    "over the hills and the blue stones of old houses " * 12,
    "red fox",
    "Ünïcödé 世界",
    "https://example.com/fox.png",
]


def make_items(texts: Sequence[str]) -> list[Item]:
    return [Item(text) for text in texts]


def make_requests(queries: list[Item], candidates: list[Item]) -> list[Request]:
    """One request per query, with its index as the key."""
    return [Request("Find it.", query, candidates, key) for key, query in enumerate(queries)]
