"""Call an adapter of any form (function, `score`, `score_stream`, `rank`, async) and check the scores it returns."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from mrb._util.raised import to_adapter_error, to_safe_repr, to_safe_text
from mrb.errors import AdapterError, DataError, MRBError
from mrb.evaluation.answers import Float64, convert_scores
from mrb.evaluation.plan import Float32, PlannedRequest
from mrb.rerankers.calling import guard_adapter_call
from mrb.rerankers.declaration import LoadedReranker
from mrb.rerankers.reranker import Request

WINDOW = 256
"""Most requests in flight: an adapter that batches across queries gets windows of this many requests."""

Answer = tuple[int, object]


def score_all(
    reranker: LoadedReranker, asked: Iterable[PlannedRequest], where: str
) -> Iterator[tuple[PlannedRequest, Float32]]:
    """Yield each request with its scores (float32, first-stage order), in the order of completion.

    `asked` is read as the adapter takes requests: one at a time, `concurrency` at a time for an async adapter, and up
    to WINDOW ahead of the answers for `score_stream`, which is called once per window.

    Raises AdapterError, which names the query (`where` is the task), if the adapter raises, returns the wrong number of
    scores, a NaN, an infinity or an order that is not a permutation, or leaves a request without an answer. An
    AdapterError or DataError that the adapter raises keeps its class; its `place`, if set, gives query and document.
    """
    iterator = iter(asked)
    size = WINDOW - 1 if _is_streaming(reranker) else None
    for first in iterator:
        yield from _score_window(reranker, itertools.chain([first], itertools.islice(iterator, size)), where)


def _score_window(
    reranker: LoadedReranker, window: Iterator[PlannedRequest], where: str
) -> Iterator[tuple[PlannedRequest, Float32]]:
    waiting: dict[int, PlannedRequest] = {}
    handed: list[str] = ["none yet"]

    def requests() -> Iterator[Request]:
        for item in window:
            waiting[item.request.key] = item
            handed[0] = item.entry.query_id
            yield item.request

    answers = _call_adapter(reranker, requests())
    while True:
        try:
            with guard_adapter_call():
                found = next(answers, None)
        except BaseException as error:
            raise _name_error(error, _describe_place(error, where, waiting, handed[0])) from error
        if found is None:
            break
        item, answer = _match_answer(found, waiting, where, handed[0])
        if isinstance(answer, _FailedAnswer):
            place = _describe_place(answer.error, where, {item.request.key: item}, item.entry.query_id)
            raise _name_error(answer.error, place) from answer.error
        yield item, item.in_first_stage_order(_check_scores(reranker, item, answer, where))
    unanswered = [item.entry.query_id for item in itertools.chain(waiting.values(), window)]
    if unanswered:
        raise AdapterError(
            f"task {where}, query {unanswered[0]!r}: the adapter gave no answer ({len(unanswered)} missing)"
        )


def _match_answer(
    found: object, waiting: dict[int, PlannedRequest], where: str, handed: str
) -> tuple[PlannedRequest, object]:
    """Return the answered request, which is removed from `waiting`, and its answer."""
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise AdapterError(
            f"task {where}, query {handed!r}: score_stream gave {to_safe_repr(found)}; yield (request.key, scores)"
        )
    key, answer = found
    item = waiting.pop(int(key), None) if isinstance(key, Integral) else None
    if item is None:
        raise AdapterError(
            f"task {where}: answered key {to_safe_repr(key)}, which it was not asked or has answered already"
        )
    return item, answer


def _describe_place(error: BaseException, where: str, waiting: Mapping[int, PlannedRequest], query_id: str) -> str:
    """Return task, query and document of an error: from its `place`, else `query_id`, which was handed out last."""
    known = error.place if isinstance(error, MRBError) else ()
    item = waiting.get(known[0]) if known else None
    if item is None:
        return f"task {where}, query {query_id!r}"
    documents = [f", document {item.entry.doc_ids[int(item.order[place])]!r}" for place in known[1:]]
    return "".join([f"task {where}, query {item.entry.query_id!r}", *documents])


def _name_error(error: BaseException, place: str) -> BaseException:
    """Return the error to raise for an error from the adapter, with `place` added unless MRB's error names it
    already."""
    if isinstance(error, AdapterError):
        return AdapterError(f"{place}: {to_safe_text(error, 1000)}")
    if isinstance(error, DataError) and not str(error).startswith("task "):
        return DataError(f"{place}: {to_safe_text(error, 1000)}")
    return error if isinstance(error, MRBError) else to_adapter_error(error, f"{place}: the adapter raised")


@dataclass(frozen=True)
class _FailedAnswer:
    """Stands for the answer of a request on which the adapter raised, while others are in flight."""

    error: BaseException


def _is_streaming(reranker: LoadedReranker) -> bool:
    return reranker.info.kind != "listwise" and callable(getattr(reranker.target, "score_stream", None))


def _call_adapter(reranker: LoadedReranker, requests: Iterator[Request]) -> Iterator[Answer]:
    if _is_streaming(reranker):
        yield from reranker.target.score_stream(requests)
        return
    method = _find_method(reranker)
    if inspect.iscoroutinefunction(method):
        yield from _call_concurrently(reranker, method, requests)
        return
    for request in requests:
        yield request.key, method(request)


def _find_method(reranker: LoadedReranker) -> Callable[[Request], Any]:
    target = reranker.target
    if reranker.info.kind == "listwise":
        method: Callable[[Request], Any] = target.rank
    else:
        method = getattr(target, "score", target)
    return method


def _call_concurrently(
    reranker: LoadedReranker, method: Callable[[Request], Awaitable[object]], requests: Iterator[Request]
) -> Iterator[Answer]:
    """Yield the answers of an async method as they complete, with up to `concurrency` requests in flight.

    The event loop belongs to the reranker and outlives this call, so that a client opened by the adapter stays usable.
    """

    async def answer(request: Request) -> Answer:
        try:
            return request.key, await method(request)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a cancelled task or a SystemExit fails this request only
            return request.key, _FailedAnswer(error)

    pending: set[asyncio.Task[Answer]] = set()

    async def fill_and_wait() -> set[asyncio.Task[Answer]]:
        for request in itertools.islice(requests, reranker.concurrency - len(pending)):
            pending.add(asyncio.ensure_future(answer(request)))
        if not pending:
            return set()
        done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        return done

    try:
        while done := reranker.loop.run(fill_and_wait()):
            pending -= done
            for task in done:
                yield task.result()
    finally:
        for task in pending:
            task.cancel()


def _check_scores(reranker: LoadedReranker, item: PlannedRequest, answer: object, where: str) -> Float32:
    """Return the answer as finite float32 scores in the request's order. AdapterError if it is none."""
    count = len(item.request.candidates)
    place = f"task {where}, query {item.entry.query_id!r}"
    values = _parse_answer(answer, place)
    if values.shape != (count,):
        shape = f"{len(values)} values" if values.ndim == 1 else f"an array of shape {values.shape}"
        raise AdapterError(f"{place}: {shape} for {count} candidates")
    if reranker.info.kind == "listwise":
        return _order_for_scoring(values, count, place)
    with np.errstate(over="ignore"):  # an overflow becomes infinite and is refused below
        scores = values.astype(np.float32)
    if not np.isfinite(scores).all():
        position = int(np.flatnonzero(~np.isfinite(scores))[0])
        doc_id = item.entry.doc_ids[int(item.order[position])]
        raise AdapterError(
            f"{place}, candidate {doc_id!r}: the score is {values[position]}, not a finite float32 number"
        )
    return scores


def _parse_answer(answer: object, place: str) -> Float64:
    """Return the numbers of a list, array, tensor or generator. AdapterError if a value is not a number."""
    try:
        return convert_scores(answer)
    except DataError:
        raise  # an image that a generator could not open
    except BaseException as error:  # reading a generator or another library's object may raise anything
        raise to_adapter_error(
            error, f"{place}: the answer is {to_safe_repr(answer)}, wanted one number per candidate, in their order:"
        ) from error


def _order_for_scoring(values: np.ndarray[Any, Any], count: int, place: str) -> Float32:
    """Return scores n, n-1, ... for an order of positions (best first). AdapterError if it is not a permutation."""
    if not np.array_equal(np.sort(values), np.arange(count)):
        raise AdapterError(f"{place}: rank() must return each position 0..{count - 1} exactly once")
    scores = np.empty(count, np.float32)
    scores[values.astype(np.int64)] = np.arange(count, 0, -1)
    return scores
