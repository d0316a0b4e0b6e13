"""Driving adapters: every form gives the same scores, every broken answer is named, nothing is fed too early."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from mrb.errors import AdapterError, DataError
from mrb.evaluation.plan import Plan, make_requests
from mrb.evaluation.score import WINDOW, score_all
from mrb.rerankers.reranker import Request
from tests.builders.adapters import score_plan, toy_reranker
from tests.builders.toy import toy_plan


def number(request: Request) -> list[float]:
    """A score that depends on the pair alone: (document number * 3 + query number) mod 7."""
    query = int(request.query.text.split()[-1])
    return [float((int(item.text.split()[-1]) * 3 + query) % 7) for item in request.candidates]


class Plain:
    def score(self, request: Request) -> list[float]:
        return number(request)


class Tensor:
    """Stands for a torch tensor on a device and in a type that numpy does not know."""

    def __init__(self, values: list[float]) -> None:
        self.values = values
        self.steps: list[str] = []

    def detach(self) -> Tensor:
        return self._step("detach")

    def float(self) -> Tensor:
        return self._step("float")

    def cpu(self) -> Tensor:
        return self._step("cpu")

    def _step(self, name: str) -> Tensor:
        self.steps.append(name)
        return self

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if self.steps != ["detach", "float", "cpu"]:
            raise TypeError("can't convert a cuda tensor to numpy")
        return np.array(self.values, dtype=dtype)


class Stream:
    def score_stream(self, requests: Iterator[Request]) -> Iterator[tuple[int, list[float]]]:
        for request in requests:
            yield request.key, number(request)


class ShuffledStream:
    def score_stream(self, requests: Iterator[Request]) -> Iterator[tuple[int, list[float]]]:
        window = list(requests)
        random.Random(5).shuffle(window)
        for request in window:
            yield request.key, number(request)


class Async:
    concurrency = 3

    async def score(self, request: Request) -> list[float]:
        await asyncio.sleep(0.001 * random.Random(request.key).random())
        return number(request)


async def async_function(request: Request) -> list[float]:
    return number(request)


ANSWERS: dict[str, Callable[[list[float]], object]] = {
    "floats": list,
    "whole numbers": lambda values: [int(value) for value in values],
    "array": lambda values: np.array(values, dtype=np.float16),
    "tensor": Tensor,
    "generator": iter,
    "decimals": lambda values: [Decimal(value) for value in values],
}
FORMS: dict[str, Any] = {
    **{name: lambda request, form=form: form(number(request)) for name, form in ANSWERS.items()},
    "class": Plain(),
    "stream": Stream(),
    "shuffled stream": ShuffledStream(),
    "async": Async(),
    "async function": async_function,
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_scores_in_first_stage_order(name: str) -> None:
    plan = toy_plan(n_queries=7, n_docs=6)
    wanted = {
        entry.query_id: [float((int(d.split("-")[1]) * 3 + int(entry.query_id[1:])) % 7) for d in entry.doc_ids]
        for entry in plan.entries()
    }
    assert score_plan(FORMS[name], plan) == wanted


class Ranker:
    kind = "listwise"

    def rank(self, request: Request) -> list[int]:
        scores = number(request)
        return sorted(range(len(scores)), key=lambda i: -scores[i])


def test_a_listwise_order_becomes_falling_scores() -> None:
    plan = toy_plan(n_queries=4, n_docs=6)
    ordered = score_plan(Ranker(), plan)
    plain = score_plan(Plain(), plan)
    for query, scores in ordered.items():
        assert sorted(scores) == [1, 2, 3, 4, 5, 6]
        by_order = sorted(range(6), key=lambda i: -scores[i])
        assert by_order == sorted(range(6), key=lambda i: -plain[query][i])


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 2, 3, 3], [0, 1, 2, 3, 5], [0.5, 1, 2, 3, 4], [-1, 0, 1, 2, 3]])
def test_an_order_that_is_no_permutation_is_refused(order: list[float]) -> None:
    class Wrong:
        kind = "listwise"

        def rank(self, request: Request) -> list[float]:
            return order

    with pytest.raises(AdapterError, match=r"task toy, query 'q0'.*(exactly once|2 values for 5)"):
        score_plan(Wrong(), toy_plan())


BROKEN = {
    "short": ([1.0, 2.0], "2 values for 5 candidates"),
    "long": ([1.0] * 6, "6 values for 5 candidates"),
    "empty": ([], "0 values for 5 candidates"),
    "column": (np.ones((5, 1)), r"an array of shape \(5, 1\)"),
    "nan": ([1, 2, float("nan"), 4, 5], "candidate 'doc-.*nan, not a finite float32"),
    "inf": ([1, 2, float("-inf"), 4, 5], "candidate 'doc-.*-inf, not a finite float32"),
    "float32 overflow": ([1, 2, 1e39, 4, 5], r"candidate 'doc-.*1e\+39, not a finite float32"),
    "too large an int": ([1, 2, 10**400, 4, 5], "wanted one number per candidate"),
    "None": (None, "the answer is None, wanted one number per candidate"),
    "a None": ([1, 2, None, 4, 5], "wanted one number per candidate"),
    "text": ("12345", "the answer is '12345', wanted"),
    "texts": (["1", "2", "3", "4", "5"], "the answer is .*'1'.*wanted"),
    "bytes": (b"12345", "wanted one number"),
    "a number": (0.5, "an array of shape"),
    "complex": ([1j] * 5, "wanted one number"),
    "ragged": ([[1], [1, 2], 3, 4, 5], "wanted one number"),
    "a dict": (dict.fromkeys("abcde", 1.0), "wanted one number"),
    "an object": (object(), "wanted one number"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.filterwarnings("error")
def test_a_broken_answer_names_task_and_query(name: str) -> None:
    answer, message = BROKEN[name]

    class Broken:
        def score(self, request: Request) -> Any:
            return answer

    class BrokenStream:
        def score_stream(self, requests: Iterator[Request]) -> Iterator[tuple[int, Any]]:
            for request in requests:
                yield request.key, answer

    for target in (Broken(), BrokenStream()):
        with pytest.raises(AdapterError, match=f"task toy, query 'q0'.*{message}") as caught:
            score_plan(target, toy_plan())
        assert "\n" not in str(caught.value)


def test_the_candidate_that_is_named_is_the_one_that_got_the_bad_score() -> None:
    class Nan:
        def score(self, request: Request) -> list[float]:
            return [float("nan") if item.text.endswith(" 3") else 1.0 for item in request.candidates]

    with pytest.raises(AdapterError, match="candidate 'doc-3'"):
        score_plan(Nan(), toy_plan())


def test_a_raising_adapter_is_named_with_its_line() -> None:
    class Raises:
        def score(self, request: Request) -> list[float]:
            if request.query.text.endswith(" 2"):
                raise KeyError("model\nhead")
            return number(request)

    with pytest.raises(AdapterError, match=r"task toy, query 'q2': the adapter raised KeyError.*test_score.py, line"):
        score_plan(Raises(), toy_plan())


def test_an_adapter_that_exits_is_an_error_not_an_exit() -> None:
    class Exits:
        def score(self, request: Request) -> list[float]:
            raise SystemExit(0)

    with pytest.raises(AdapterError, match="query 'q0': the adapter raised SystemExit"):
        score_plan(Exits(), toy_plan())


def test_a_raising_stream_names_the_last_query_it_took() -> None:
    class Raises:
        def score_stream(self, requests: Iterator[Request]) -> Iterator[tuple[int, list[float]]]:
            for request in requests:
                if request.query.text.endswith(" 2"):
                    raise ValueError("no")
                yield request.key, number(request)

    with pytest.raises(AdapterError, match="task toy, query 'q2': the adapter raised ValueError: no"):
        score_plan(Raises(), toy_plan())


def test_a_raising_async_adapter_names_the_query_that_failed_not_the_last_one_handed_out() -> None:
    class Raises:
        concurrency = 5

        async def score(self, request: Request) -> list[float]:
            await asyncio.sleep(0.001)
            if request.query.text.endswith(" 1"):
                raise ValueError("no")
            await asyncio.sleep(0.01)
            return number(request)

    with pytest.raises(AdapterError, match="query 'q1': the adapter raised ValueError: no"):
        score_plan(Raises(), toy_plan(n_queries=6))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (lambda key: [key, key], "answered key 0, which it was not asked or has answered already"),
        (lambda key: [key + 1000], "answered key 1000"),
        (lambda key: ["x\ny" * 100], "answered key"),
        (lambda key: [] if key == 1 else [key], r"query 'q1': the adapter gave no answer \(1 missing\)"),
    ],
)
def test_answers_are_matched_to_requests(keys: Callable[[int], list[Any]], message: str) -> None:
    class Keys:
        def score_stream(self, requests: Iterator[Request]) -> Iterator[tuple[int, list[float]]]:
            for request in requests:
                for key in keys(request.key):
                    yield key, number(request)

    with pytest.raises(AdapterError, match=message) as caught:
        score_plan(Keys(), toy_plan())
    assert len(str(caught.value)) < 300


def test_a_stream_that_stops_taking_requests_is_an_error() -> None:
    class Stops:
        def score_stream(self, requests: Iterator[Request]) -> Iterator[tuple[int, list[float]]]:
            request = next(requests)
            yield request.key, number(request)

    with pytest.raises(AdapterError, match=r"query 'q1': the adapter gave no answer \(6 missing\)"):
        score_plan(Stops(), toy_plan(n_queries=7))


def count_made(plan: Plan, made: list[int]) -> Iterator[Any]:
    for item in make_requests(plan, plan.entries(), "pointwise", uses_first_stage=False):
        made.append(item.request.key)
        yield item


def test_a_stream_is_never_fed_more_than_a_window_ahead() -> None:
    plan = toy_plan(n_queries=2 * WINDOW + 10, n_docs=1)
    made: list[int] = []
    answered = 0
    windows: list[int] = []

    class Greedy:
        def score_stream(self, requests: Iterator[Request]) -> Iterator[tuple[int, list[float]]]:
            taken = list(requests)
            windows.append(len(taken))
            for request in taken:
                assert len(made) - answered <= WINDOW
                yield request.key, number(request)

    for _ in score_all(toy_reranker(Greedy()), count_made(plan, made), "toy"):
        answered += 1
    assert answered == 2 * WINDOW + 10
    assert windows == [WINDOW, WINDOW, 10]


@pytest.mark.parametrize(("target", "ahead"), [(Plain(), 1), (Async(), Async.concurrency)])
def test_other_adapters_are_fed_as_they_take(target: Any, ahead: int) -> None:
    plan = toy_plan(n_queries=40, n_docs=1)
    made: list[int] = []
    answered = 0
    for _ in score_all(toy_reranker(target), count_made(plan, made), "toy"):
        assert len(made) - answered <= ahead
        answered += 1
    assert answered == 40


def test_async_requests_overlap_up_to_the_declared_concurrency() -> None:
    class Slow:
        concurrency = 5

        def __init__(self) -> None:
            self.running = 0
            self.most = 0

        async def score(self, request: Request) -> list[float]:
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0.001)
            self.running -= 1
            return number(request)

    slow = Slow()
    assert len(score_plan(slow, toy_plan(n_queries=50))) == 50
    assert slow.most == 5


def test_an_async_client_opened_once_serves_the_whole_run() -> None:
    class Client:
        """Bound to the event loop that it is first used in, as HTTP clients are."""

        concurrency = 4

        def __init__(self) -> None:
            self.loop: asyncio.AbstractEventLoop | None = None
            self.closed_in: asyncio.AbstractEventLoop | None = None

        async def score(self, request: Request) -> list[float]:
            self.loop = self.loop or asyncio.get_running_loop()
            assert self.loop is asyncio.get_running_loop()
            return number(request)

        async def close(self) -> None:
            self.closed_in = asyncio.get_running_loop()

    client = Client()
    loaded = toy_reranker(client)
    plan = toy_plan(n_queries=2 * WINDOW, n_docs=1)
    for _ in range(2):  # two tasks of one run
        requests = make_requests(plan, plan.entries(), "pointwise", uses_first_stage=False)
        assert len(list(score_all(loaded, requests, "toy"))) == 2 * WINDOW
    loaded.close()
    assert client.closed_in is client.loop


def test_an_adapters_own_error_gets_the_names_of_what_it_is_about() -> None:
    shown = ""

    class Streams:
        def __init__(self, *place: int) -> None:
            self.place = place

        def score_stream(self, requests: Iterator[Request]) -> Iterator[tuple[int, list[float]]]:
            nonlocal shown
            second = list(requests)[1]
            shown = second.candidates[2].text.split()[-1]
            error = DataError("too thin")
            error.place = tuple(second.key if place < 0 else place for place in self.place)
            raise error
            yield  # a generator

    known = ((-1, 2), "'q1', document 'doc-{}'"), ((-1,), "'q1'")
    unknown = ((999, 0), "'q2'"), ((), "'q2'")  # the last that it took
    for place, where in (*known, *unknown):
        with pytest.raises(DataError) as caught:
            score_plan(Streams(*place), toy_plan(n_queries=3))
        assert str(caught.value) == f"task toy, query {where.format(shown)}: too thin"


def test_an_own_error_of_an_adapter_that_is_asked_alone_names_its_query() -> None:
    class Refuses:
        def score(self, request: Request) -> list[float]:
            if request.query.text.endswith(" 2"):
                raise DataError("corpus, 'x': damaged")
            return number(request)

    class Later(Refuses):
        concurrency = 3

        async def score(self, request: Request) -> list[float]:  # type: ignore[override]
            return super().score(request)

    for adapter in (Refuses(), Later()):
        with pytest.raises(DataError, match=r"^task toy, query 'q2': corpus, 'x': damaged$"):
            score_plan(adapter, toy_plan())
