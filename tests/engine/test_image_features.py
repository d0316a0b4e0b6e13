"""Images are made ready ahead of the model, in threads, within bounds; what is no longer wanted makes room."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mrb.data.items import ImageCaps, ImageHandle, Item
from mrb.engine import image_features as module
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


@pytest.fixture
def made(pictures: ImageFeatureExtractor, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(hash, thread) of each image whose pixels are made."""
    found: list[tuple[str, str]] = []
    original = pictures._compute_pixels

    def noted(image: ImageHandle) -> module.Pixels:
        found.append((image.sha256, threading.current_thread().name))
        return original(image)

    monkeypatch.setattr(pictures, "_compute_pixels", noted)
    return found


def test_no_more_pixels_wait_than_the_bound(
    pictures: ImageFeatureExtractor, made: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [picture(100, 100, seed) for seed in range(12)]
    one = pictures._measure_bytes(images[0])
    monkeypatch.setattr(module, "AHEAD_BYTES", 3 * one)
    pictures.expect(images)
    for count, image in enumerate(images, start=1):
        assert pictures._waiting_bytes <= 3 * one
        assert len(pictures._waiting) <= 3
        pictures.features([image])
        assert len(made) <= count + 3
    assert (pictures._waiting_bytes, pictures._waiting, pictures._queue) == (0, {}, {})
    assert [key for key, _ in made] == [image.sha256 for image in images], "each once, in the order expected"
    assert all(thread.startswith("mrb-pixels") for _, thread in made)


def test_an_image_larger_than_the_bound_is_made_all_the_same(
    pictures: ImageFeatureExtractor, made: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AHEAD_BYTES", 1)
    images = [picture(100, 100, seed) for seed in range(2)]
    pictures.expect(images)
    assert list(pictures._waiting) == [images[0].sha256]
    assert pictures.features(images).keys() == {image.sha256 for image in images}


def test_what_is_wanted_again_is_not_made_ahead_in_vain(
    pictures: ImageFeatureExtractor, made: list[tuple[str, str]]
) -> None:
    a, b, c = (picture(60, 60, seed) for seed in range(3))
    pictures.expect([a, b, a])
    pictures.features([a])
    pictures.features([a])  # not kept: made again, now
    assert [key for key, _ in made].count(a.sha256) == 2
    assert set(pictures._waiting) <= {b.sha256}
    pictures.expect([c])
    assert list(pictures._waiting) == [c.sha256], "b was never wanted"
    assert pictures._waiting_bytes == pictures._measure_bytes(c)


def test_whole_windows_leave_nothing_behind(pictures: ImageFeatureExtractor, tiny: Callable[[str], Path]) -> None:
    limits = {key: str(value) for key, value in LIMITS.items()}
    reranker = load_reranker("gmr-7b", {"path": str(tiny("qwen2_5_vl")), "cache_mb": "0", **limits})
    page = picture(60, 60, 9)
    requests = [Request("", Item(f"q{i}", page), [Item("", page), Item("", picture(50, 50, i))], i) for i in range(10)]
    assert len(dict(reranker.target.score_stream(requests))) == 10
    held = reranker.target.engine.pictures
    assert (held._waiting, held._waiting_bytes, held._queue) == ({}, 0, {})
    reranker.close()


def test_an_image_that_a_task_shrinks_has_features_of_its_own(pictures: ImageFeatureExtractor) -> None:
    whole = picture(100, 100)
    small = ImageHandle(lambda: whole.encoded, where="small", caps=ImageCaps(downscale_pixels=60 * 60))
    found = pictures.features([whole, small])
    assert found.keys() == {whole.content_hash, small.content_hash} and len(found) == 2
