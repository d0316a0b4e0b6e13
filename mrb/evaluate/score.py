"""Driving an adapter: whatever form it has, requests go in lazily and checked float32 scores come out by key."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrb.declaration import LoadedReranker
from mrb.errors import AdapterError, MRBError, one_line
from mrb.evaluate.plan import Asked, Float32
from mrb.reranker import Request

WINDOW = 256
"""Requests in flight at most: an adapter that batches across queries sees windows of this many."""

Answer = tuple[int, object]


def score_all(reranker: LoadedReranker, asked: Iterable[Asked], where: str) -> Iterator[tuple[Asked, Float32]]:
    """Each asked request with its scores (float32, first-stage order), in the order in which they come.

    AdapterError names the query (`where` names the task) when the adapter raises, returns the wrong number of scores,
    a NaN or an infinity, an order that is no permutation, or leaves a request without an answer.
    """
    iterator = iter(asked)
    while window := list(itertools.islice(iterator, WINDOW)):
        yield from _score_window(reranker, window, where)


def _score_window(reranker: LoadedReranker, window: list[Asked], where: str) -> Iterator[tuple[Asked, Float32]]:
    waiting = {item.request.key: item for item in window}
    fed: list[Asked] = []

    def requests() -> Iterator[Request]:
        for item in window:
            fed.append(item)
            yield item.request

    try:
        for key, answer in _answers(reranker, requests()):
            item = waiting.pop(key, None)
            if item is None:
                raise AdapterError(
                    f"task {where}: answered key {key!r}, which it was not asked or has answered already"
                )
            yield item, item.in_first_stage_order(_checked(reranker, item, answer, where))
    except MRBError:
        raise
    except Exception as error:
        last = fed[-1].entry.query_id if fed else window[0].entry.query_id
        raise AdapterError(f"task {where}, query {last!r}: the adapter raised {_raised(error)}") from error
    if waiting:
        query_id = next(iter(waiting.values())).entry.query_id
        raise AdapterError(f"task {where}, query {query_id!r}: the adapter gave no answer ({len(waiting)} missing)")


def _answers(reranker: LoadedReranker, requests: Iterator[Request]) -> Iterator[Answer]:
    target = reranker.target
    stream = getattr(target, "score_stream", None)
    if callable(stream) and reranker.info.kind != "listwise":
        yield from stream(requests)
        return
    method = _method(reranker)
    if inspect.iscoroutinefunction(method):
        yield from _concurrently(method, requests, reranker.concurrency)
        return
    for request in requests:
        yield request.key, method(request)


def _method(reranker: LoadedReranker) -> Callable[[Request], Any]:
    target = reranker.target
    if reranker.info.kind == "listwise":
        method: Callable[[Request], Any] = target.rank
    else:
        method = getattr(target, "score", target)
    return method


def _concurrently(
    method: Callable[[Request], Awaitable[object]], requests: Iterator[Request], concurrency: int
) -> Iterator[Answer]:
    """Answers of an async method with `concurrency` requests in flight, as they complete."""

    async def answer(request: Request) -> Answer:
        return request.key, await method(request)

    with asyncio.Runner() as runner:
        pending: set[asyncio.Task[Answer]] = set()

        async def fill_and_wait() -> set[asyncio.Task[Answer]]:
            for request in itertools.islice(requests, concurrency - len(pending)):
                pending.add(asyncio.ensure_future(answer(request)))
            if not pending:
                return set()
            done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            return done

        while done := runner.run(fill_and_wait()):
            pending -= done
            for task in done:
                yield task.result()


def _checked(reranker: LoadedReranker, item: Asked, answer: object, where: str) -> Float32:
    """The answer as float32 scores in the request's order."""
    count = len(item.request.candidates)
    place = f"task {where}, query {item.entry.query_id!r}"
    values = _as_array(answer, place)
    if values.shape != (count,):
        shape = f"{len(values)} values" if values.ndim == 1 else f"an array of shape {values.shape}"
        raise AdapterError(f"{place}: {shape} for {count} candidates")
    if reranker.info.kind == "listwise":
        return _scores_of_order(values, count, place)
    scores = values.astype(np.float32)
    if not np.isfinite(scores).all():
        position = int(np.flatnonzero(~np.isfinite(scores))[0])
        doc_id = item.entry.doc_ids[int(item.order[position])]
        raise AdapterError(
            f"{place}, candidate {doc_id!r}: the score is {values[position]}, not a finite float32 number"
        )
    return scores


def _as_array(answer: object, place: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Numbers from a list, array or tensor; a torch tensor of any type and device too."""
    if hasattr(answer, "detach"):
        answer = answer.detach().float().cpu()  # numpy knows no bfloat16
    if isinstance(answer, Iterator):
        answer = list(answer)
    try:
        return np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise AdapterError(
            f"{place}: the answer is {one_line(repr(answer), 80)}, wanted one number per candidate"
        ) from error


def _scores_of_order(values: np.ndarray[Any, Any], count: int, place: str) -> Float32:
    """Scores n, n-1, ... for an order of positions, best first."""
    if not np.array_equal(np.sort(values), np.arange(count)):
        raise AdapterError(f"{place}: rank() must return each position 0..{count - 1} exactly once")
    scores = np.empty(count, np.float32)
    scores[values.astype(np.int64)] = np.arange(count, 0, -1)
    return scores


def _raised(error: Exception) -> str:
    frame: Sequence[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frame[-1].filename).name}, line {frame[-1].lineno})" if frame else ""
    return one_line(f"{type(error).__name__}: {error}") + place + "; MRB_TRACEBACK=1 shows all of it"
