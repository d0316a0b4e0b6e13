"""Groups of requests that an adapter scores together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mrb.rerankers.reranker import Request

_PAIRS = 512


def group_requests(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """Yield the requests in order, in groups of at least 512 pairs; the last group may have fewer.

    So many pairs are enough to sort them into even batches, and a killed run repeats no more of them.
    """
    waiting: list[Request] = []
    for request in requests:
        waiting.append(request)
        if sum(len(one.candidates) for one in waiting) >= _PAIRS:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
