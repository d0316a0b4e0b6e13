"""Compute results in threads ahead of the consumer."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetch(pool: Executor, function: Callable[[T], R], items: Iterable[T], most: int) -> Iterator[R]:
    """Yield `function` of each item, in order, with at most `most` results running or waiting.

    An error of `function` is raised at its result's position; later calls are then cancelled or not waited for.
    """
    left = iter(items)
    begun: deque[Future[R]] = deque(pool.submit(function, item) for item in itertools.islice(left, most))
    try:
        while begun:
            result = begun.popleft().result()
            begun.extend(pool.submit(function, item) for item in itertools.islice(left, 1))
            yield result
    finally:
        for future in begun:
            future.cancel()
