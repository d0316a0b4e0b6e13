"""Work done in threads, ahead of whoever takes its results."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(pool: Executor, function: Callable[[T], R], items: Iterable[T], most: int) -> Iterator[R]:
    """`function` of each item, in order; `most` of them are under way or waiting to be taken.

    An error of `function` is raised where its result would be; what was begun after it is then not waited for.
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
