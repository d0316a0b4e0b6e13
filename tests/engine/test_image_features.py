"""Features of images: made once while they are cached, and nothing is left waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mrb.data.items import ImageCaps, ImageHandle, Item
from mrb.engine.image_features import ImageFeatureExtractor
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.reranker import Request
from tests.builders.by_hand import LIMITS
from tests.builders.requests import picture

pytestmark = pytest.mark.torch


@pytest.fixture
def pictures(tiny: Callable[[str], Path]) -> Iterator[ImageFeatureExtractor]:
    """Those of a model that keeps no features."""
    limits = {key: str(value) for key, value in LIMITS.items()}
    reranker = load_reranker("gmr-7b", {"path": str(tiny("qwen2_5_vl")), "device": "cpu", "cache_mb": "0", **limits})
    yield reranker.target.engine.pictures
    reranker.close()


def is_idle(pictures: ImageFeatureExtractor) -> bool:
    queue = pictures._pixels
    return (queue._begun, queue._begun_bytes, queue._announced) == ({}, 0, {})


def test_what_is_cached_is_not_decoded_in_vain(tiny: Callable[[str], Path]) -> None:
    limits = {key: str(value) for key, value in LIMITS.items()}
    reranker = load_reranker("gmr-7b", {"path": str(tiny("qwen2_5_vl")), "device": "cpu", **limits})
    pictures = reranker.target.engine.pictures
    a, b = picture(60, 60, 1), picture(60, 60, 2)
    pictures.features([a])
    pictures.expect([a, b])
    assert list(pictures._pixels._begun) == [b.sha256]
    pictures._pixels.expect([a])  # announced while its features were being computed
    pictures.features([a, b])
    assert is_idle(pictures)
    reranker.close()


def test_whole_windows_leave_nothing_behind(pictures: ImageFeatureExtractor, tiny: Callable[[str], Path]) -> None:
    limits = {key: str(value) for key, value in LIMITS.items()}
    reranker = load_reranker("gmr-7b", {"path": str(tiny("qwen2_5_vl")), "cache_mb": "0", **limits})
    page = picture(60, 60, 9)
    requests = [Request("", Item(f"q{i}", page), [Item("", page), Item("", picture(50, 50, i))], i) for i in range(10)]
    assert len(dict(reranker.target.score_stream(requests))) == 10
    assert is_idle(reranker.target.engine.pictures)
    stream = reranker.target.score_stream(requests)
    next(stream)
    stream.close()  # a consumer that stops
    assert is_idle(reranker.target.engine.pictures)
    reranker.close()


def test_an_image_that_a_task_shrinks_has_features_of_its_own(pictures: ImageFeatureExtractor) -> None:
    whole = picture(100, 100)
    small = ImageHandle(lambda: whole.encoded, where="small", caps=ImageCaps(downscale_pixels=60 * 60))
    found = pictures.features([whole, small])
    assert found.keys() == {whole.content_hash, small.content_hash} and len(found) == 2
