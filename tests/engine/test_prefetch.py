"""Results come in order, within bounds; what is no longer wanted makes room; nothing waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from mrb.data.items import ImageHandle
from mrb.engine import prefetch as module
from mrb.engine.prefetch import PixelQueue, count_image_threads, prefetch
from mrb.errors import DataError


@pytest.mark.parametrize("ahead", [1, 3, 50])
def test_results_come_in_order_and_no_more_than_so_many_are_ahead(ahead: int) -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.001 * (number % 3))
        return number

    taken = 0
    for result in prefetch(work, range(30), ahead=ahead):
        assert result == taken
        taken += 1
        assert len(begun) <= taken + ahead
    assert taken == 30


def test_an_error_ahead_is_raised_where_its_result_would_be() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    got: list[int] = []
    with pytest.raises(ValueError, match="three"):
        for result in prefetch(work, range(10), ahead=4):
            got.append(result)
    assert got == [0, 1, 2]


def test_a_consumer_that_stops_ends_the_thread() -> None:
    begun: list[int] = []
    with closing(prefetch(begun.append, range(100), ahead=2)) as results:
        next(results)
    assert len(begun) <= 3
    assert not any(thread.name.startswith("mrb-prefetch") for thread in threading.enumerate())


def image(number: int) -> ImageHandle:
    return ImageHandle(lambda: str(number).encode(), where=f"image {number}")


@pytest.fixture
def made() -> list[tuple[str, str]]:
    """(content, thread) of each image whose pixels are made."""
    return []


@pytest.fixture
def queue(made: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[PixelQueue[str]]:
    """A queue of which one byte an image and three images fit."""

    def compute(one: ImageHandle) -> str:
        content = one.encoded.decode()
        made.append((content, threading.current_thread().name))
        if content == "13":
            raise DataError("thirteen")
        return content

    monkeypatch.setattr(module, "AHEAD_BYTES", 3)
    queue = PixelQueue(compute, lambda _: 1, threads=2)
    yield queue
    queue.close()


def test_no_more_pixels_wait_than_the_bound(queue: PixelQueue[str], made: list[tuple[str, str]]) -> None:
    images = [image(number) for number in range(12)]
    queue.expect(images)
    for count, one in enumerate(images, start=1):
        assert queue._begun_bytes == len(queue._begun) <= 3
        assert queue.take([one]) == [one.encoded.decode()]
        assert len(made) <= count + 3
    assert (queue._begun_bytes, queue._begun, queue._announced) == (0, {}, {})
    assert sorted(int(content) for content, _ in made) == list(range(12)), "each once"
    assert all(thread.startswith("mrb-pixels") for _, thread in made)


def test_an_image_larger_than_the_bound_is_made_all_the_same(queue: PixelQueue[str]) -> None:
    queue._measure = lambda _: 100
    queue.expect([image(0), image(1)])
    assert list(queue._begun) == [image(0).content_hash]
    assert queue.take([image(0), image(1)]) == ["0", "1"]


def test_what_is_needed_now_does_not_wait_for_room(queue: PixelQueue[str], made: list[tuple[str, str]]) -> None:
    queue.expect(image(number) for number in range(20))
    assert queue.take([image(19), image(50)]) == ["19", "50"]
    assert queue.take([image(19)]) == ["19"], "taken before, so made again"
    assert [content for content, _ in made].count("19") == 2
    assert queue._begun_bytes == 3


def test_dropped_images_make_room(queue: PixelQueue[str]) -> None:
    queue.expect(image(number) for number in range(5))
    queue.drop([image(1).content_hash, image(4).content_hash, image(77).content_hash])
    assert list(queue._begun) == [image(number).content_hash for number in (0, 2, 3)]
    assert not queue._announced
    queue.drop()
    assert (queue._begun, queue._begun_bytes) == ({}, 0)
    queue.expect([image(6)])
    assert queue.take([image(6)]) == ["6"]


def test_an_error_carries_its_image_and_the_rest_goes_on(queue: PixelQueue[str]) -> None:
    bad = image(13)
    queue.expect([image(1), bad, image(2)])
    with pytest.raises(DataError, match="thirteen") as raised:
        queue.take([image(1), bad])
    assert raised.value.image == bad.content_hash
    assert queue.take([image(2)]) == ["2"]


@pytest.mark.parametrize(("stated", "threads"), [("", 12), ("4", 4), ("1", 2), ("64", 12), ("many", 12)])
def test_threads_are_this_process_s_share_of_the_cores(
    stated: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "count_cores", lambda: 12)
    monkeypatch.setenv("OMP_NUM_THREADS", stated)
    assert count_image_threads() == threads
