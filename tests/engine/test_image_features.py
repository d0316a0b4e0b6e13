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
def extractor(tiny: Callable[[str], Path]) -> Iterator[ImageFeatureExtractor]:
    """Those of a model that keeps no features."""
    limits = {key: str(value) for key, value in LIMITS.items()}
    reranker = load_reranker("gmr-7b", {"path": str(tiny("qwen2_5_vl")), "device": "cpu", "cache_mb": "0", **limits})
    yield reranker.target.engine.extractor
    reranker.close()


def is_idle(extractor: ImageFeatureExtractor) -> bool:
    queue = extractor._pixels
    return (queue._begun, queue._begun_bytes, queue._announced) == ({}, 0, {})


def test_what_is_cached_is_not_decoded_in_vain(tiny: Callable[[str], Path]) -> None:
    limits = {key: str(value) for key, value in LIMITS.items()}
    reranker = load_reranker("gmr-7b", {"path": str(tiny("qwen2_5_vl")), "device": "cpu", **limits})
    extractor = reranker.target.engine.extractor
    a, b = picture(60, 60, 1), picture(60, 60, 2)
    extractor.features([a])
    extractor.expect([a, b])
    assert list(extractor._pixels._begun) == [b.sha256]
    extractor._pixels.expect([a])  # announced while its features were being computed
    extractor.features([a, b])
    assert is_idle(extractor)
    reranker.close()


def test_whole_windows_leave_nothing_behind(extractor: ImageFeatureExtractor, tiny: Callable[[str], Path]) -> None:
    limits = {key: str(value) for key, value in LIMITS.items()}
    reranker = load_reranker("gmr-7b", {"path": str(tiny("qwen2_5_vl")), "cache_mb": "0", **limits})
    page = picture(60, 60, 9)
    requests = [Request("", Item(f"q{i}", page), [Item("", page), Item("", picture(50, 50, i))], i) for i in range(10)]
    assert len(dict(reranker.target.score_stream(requests))) == 10
    assert is_idle(reranker.target.engine.extractor)
    stream = reranker.target.score_stream(requests)
    next(stream)
    stream.close()  # a consumer that stops
    assert is_idle(reranker.target.engine.extractor)
    reranker.close()


def test_an_image_that_a_task_shrinks_has_features_of_its_own(extractor: ImageFeatureExtractor) -> None:
    whole = picture(100, 100)
    small = ImageHandle(lambda: whole.encoded, where="small", caps=ImageCaps(downscale_pixels=60 * 60))
    found = extractor.features([whole, small])
    assert found.keys() == {whole.content_hash, small.content_hash} and len(found) == 2
