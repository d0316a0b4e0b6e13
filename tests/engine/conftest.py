"""Rerankers of tiny checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mrb.rerankers.declaration import LoadedReranker, load_reranker

Load = Callable[..., LoadedReranker]


@pytest.fixture
def load() -> Iterator[Load]:
    """`load("gmr-7b", folder, ...)`: a reranker that is closed at the end."""
    from tests.builders.by_hand import LIMITS  # imports torch

    opened: list[LoadedReranker] = []

    def get(name: str, folder: Path, **options: Any) -> LoadedReranker:
        given = {"path": folder, "device": "cpu", **LIMITS, **options}
        opened.append(load_reranker(name, {key: str(value) for key, value in given.items()}))
        return opened[-1]

    yield get
    for reranker in opened:
        reranker.close()
