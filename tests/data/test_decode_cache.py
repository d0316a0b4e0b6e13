"""The cache of decoded images: bounded, safe between threads, and it lends no image to others."""

from __future__ import annotations

import random
import threading

import pytest
from PIL import Image

from mrb.data import items
from mrb.data.items import DecodeCache, ImageCaps, ImageHandle
from mrb.errors import DataError
from tests.builders.toy import encoded

RED, WHITE = (255, 0, 0), (255, 255, 255)


def handle(data: bytes, caps: ImageCaps | None = None, cache: DecodeCache | None = None) -> ImageHandle:
    return ImageHandle(lambda: data, where="table, 'id'", caps=caps, cache=cache)


def test_the_cache_decodes_once_and_gives_copies() -> None:
    cache = DecodeCache()
    data = encoded(Image.new("RGB", (4, 4), RED))
    first = handle(data, cache=cache).open()
    first.putpixel((0, 0), WHITE)
    second = handle(data, cache=cache).open()
    assert second.getpixel((0, 0)) == RED
    assert (cache.misses, cache.hits) == (1, 1)


def test_the_cache_never_lends_an_image_to_other_caps() -> None:
    cache = DecodeCache()
    data = encoded(Image.new("RGB", (40, 40), RED))
    assert handle(data, cache=cache).open().size == (40, 40)
    assert handle(data, ImageCaps(downscale_pixels=100), cache=cache).open().size == (10, 10)
    with pytest.raises(DataError, match="over the task's 99"):
        handle(data, ImageCaps(max_pixels=99), cache=cache).open()


def was_held(cache: DecodeCache, key: object, pixels: int) -> bool:
    """Ask for an image of so many pixels, and paint on what came; whether the cache had it."""
    hits = cache.hits
    image = cache.get(key, lambda: Image.new("RGB", (pixels, 1), RED))
    assert image.getpixel((0, 0)) == RED
    image.putpixel((0, 0), WHITE)
    assert cache.held_bytes <= cache.max_bytes
    return cache.hits > hits


def test_the_cache_is_bounded_and_drops_the_oldest() -> None:
    cache = DecodeCache(max_bytes=4 * 2 * items.FEW)
    assert not any(was_held(cache, n, 2) for n in range(items.FEW))
    assert all(was_held(cache, n, 2) for n in range(items.FEW))
    assert not was_held(cache, "one more", 2)
    assert not was_held(cache, 0, 2), "the oldest has left, and now the next one"
    assert was_held(cache, 2, 2)
    for _ in range(3):
        assert not was_held(cache, "fills it alone", 2 * items.FEW + 1)
    assert was_held(cache, 3, 2), "what cannot be held drives nothing out"


def test_large_images_are_held_when_they_are_wanted_again_soon() -> None:
    cache = DecodeCache(max_bytes=4 * 100)
    for _ in range(3):
        assert not any(was_held(cache, n, 50) for n in range(items.SOON + 1)), "a list that is read over and over"
    assert cache.held_bytes == 0
    assert [was_held(cache, key, 50) for key in ("query", "a", "query", "b", "query", "c", "query")] == [
        False, False, False, False, True, False, True
    ]  # fmt: skip
    assert cache.held_bytes == 4 * 50


def test_a_failed_decode_is_not_remembered() -> None:
    cache = DecodeCache()

    def fail() -> Image.Image:
        raise DataError("no")

    with pytest.raises(DataError):
        cache.get("a", fail)
    assert cache.get("a", lambda: Image.new("RGB", (1, 1))).size == (1, 1)


def test_the_cache_is_safe_between_threads() -> None:
    cache = DecodeCache(max_bytes=4 * 16 * 5)
    wrong: list[object] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(300):
            key = rng.randrange(12)
            image = cache.get(key, lambda key=key: Image.new("RGB", (4, 4), (key, 0, 0)))  # type: ignore[misc]
            if image.getpixel((0, 0)) != (key, 0, 0) or cache.held_bytes > cache.max_bytes + 4 * 16:
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cache.hits + cache.misses == 8 * 300
    assert 0 < cache.held_bytes <= cache.max_bytes
