"""Compute results in threads ahead of the consumer: prompts, and the pixels of images."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from mrb._util.cores import THREADS_VARIABLE, count_cores
from mrb.data.items import ImageHandle
from mrb.errors import MRBError

T = TypeVar("T")
R = TypeVar("R")

AHEAD_BYTES = 256 * 1024 * 1024
"""Limit of resized pixels that wait for the model."""
_FEWEST = 2


def prefetch(function: Callable[[T], R], items: Iterable[T], *, ahead: int = 1) -> Generator[R, None, None]:
    """Yield `function` of each item, in order; a thread computes up to `ahead` further results meanwhile.

    `items` is read by the caller's thread. An error of `function` is raised at its result's position. When the
    iterator is closed, what has not begun is cancelled and what has is waited for.
    """
    left = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="mrb-prefetch") as pool:
        begun: deque[Future[R]] = deque(pool.submit(function, item) for item in itertools.islice(left, ahead))
        try:
            while begun:
                result = begun.popleft().result()
                begun.extend(pool.submit(function, item) for item in itertools.islice(left, 1))
                yield result
        finally:
            for future in begun:
                future.cancel()


def count_image_threads() -> int:
    """Return the number of threads that decode and resize images: this process's cores, and 2 at least.

    One of several workers has its share of them, which OMP_NUM_THREADS states.
    """
    stated = os.environ.get(THREADS_VARIABLE, "")
    return max(_FEWEST, min(count_cores(), int(stated) if stated.isdecimal() else count_cores()))


class PixelQueue(Generic[R]):
    """Makes the pixels of images in threads, in the order announced, at most AHEAD_BYTES ahead of who takes them.

    Args:
        compute: Makes an image's pixels.
        measure: Returns their size in bytes, without decoding the image.
        threads: The number of threads; 0: as many as this process has cores.
    """

    def __init__(
        self, compute: Callable[[ImageHandle], R], measure: Callable[[ImageHandle], int], threads: int = 0
    ) -> None:
        self._compute = compute
        self._measure = measure
        self._pool = ThreadPoolExecutor(threads or count_image_threads(), thread_name_prefix="mrb-pixels")
        # Images are announced by the thread that makes prompts and taken by the one that runs the model.
        self._lock = threading.Lock()
        self._announced: dict[str, ImageHandle] = {}
        self._begun: dict[str, tuple[Future[R], int]] = {}
        self._begun_bytes = 0

    def expect(self, images: Iterable[ImageHandle]) -> None:
        """Announce images that will be needed after those announced so far. Thread-safe."""
        wanted = {image.content_hash: image for image in images}
        with self._lock:
            self._announced |= {key: image for key, image in wanted.items() if key not in self._begun}
            self._begin_announced()

    def take(self, images: Sequence[ImageHandle]) -> list[R]:
        """Return the pixels of images, announced or not. An error carries its image's hash."""
        with self._lock:
            for image in images:  # needed now, whatever else waits
                self._announced.pop(image.content_hash, None)
                if image.content_hash not in self._begun:
                    self._begin(image)
        found = []
        for image in images:
            with self._lock:
                future = self._remove(image.content_hash)
                self._begin_announced()
            try:
                found.append(future.result())
            except MRBError as error:
                error.image = image.content_hash
                raise
        return found

    def drop(self, hashes: Iterable[str] | None = None) -> None:
        """Forget announced images: those of these hashes, or all. Thread-safe."""
        with self._lock:
            for key in [*self._announced, *self._begun] if hashes is None else hashes:
                self._announced.pop(key, None)
                if key in self._begun:
                    self._remove(key).cancel()
            self._begin_announced()

    def close(self) -> None:
        """Stop the threads and free the pixels."""
        self.drop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin_announced(self) -> None:
        """Begin announced images while there is room for their pixels; at least one, however large."""
        while self._announced and (self._begun_bytes < AHEAD_BYTES or not self._begun):
            self._begin(self._announced.pop(next(iter(self._announced))))

    def _begin(self, image: ImageHandle) -> None:
        size = self._measure(image)
        self._begun[image.content_hash] = self._pool.submit(self._compute, image), size
        self._begun_bytes += size

    def _remove(self, key: str) -> Future[R]:
        future, size = self._begun.pop(key)
        self._begun_bytes -= size
        return future
