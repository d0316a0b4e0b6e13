"""`--allow-failures`: every form of adapter loses exactly the pairs that fail, and no run passes its allowance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from mrb.errors import AdapterError
from mrb.evaluation.failures import FailureBudget, count_failed, score_with_failures
from mrb.evaluation.measure import measure
from mrb.evaluation.plan import Float32, Plan, make_requests
from mrb.rerankers.reranker import Request
from tests.builders.adapters import toy_reranker
from tests.builders.toy import toy_plan

BAD = {
    ("query words 1", "document words 2"),
    ("query words 1", "document words 4"),
    ("query words 3", "document words 0"),
}


def _pair(request: Request, text: str) -> float:
    if (request.query.text, text) in BAD:
        raise RuntimeError("no score for this pair")
    return float(text.split()[-1])


def _scores(request: Request) -> list[float]:
    return [_pair(request, item.text) for item in request.candidates]


class Raising:
    def score(self, request: Request) -> list[float]:
        return _scores(request)


class Nan:
    def score(self, request: Request) -> list[float]:
        texts = [item.text for item in request.candidates]
        return [float("nan") if (request.query.text, t) in BAD else float(t.split()[-1]) for t in texts]


class Stream:
    def score_stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, list[float]]]:
        for request in list(requests)[::-1]:
            yield request.key, _scores(request)


class Asynchronous:
    concurrency = 3

    async def score(self, request: Request) -> list[float]:
        return _scores(request)


class Setwise(Raising):
    kind = "setwise"


def _drive(target: Any, plan: Plan, allowed: int) -> dict[str, Float32]:
    loaded = toy_reranker(target)
    requests = make_requests(plan, plan.entries(), loaded.info.kind, uses_first_stage=False)
    try:
        allowance = FailureBudget(allowed)
        held = {item.entry.query_id: scores for item, scores in score_with_failures(loaded, requests, "toy", allowance)}
    finally:
        loaded.close()
    assert count_failed(held) == allowance.failed
    return held


def _failed(plan: Plan, held: dict[str, Float32]) -> set[tuple[str, str]]:
    texts = {doc_id: plan.data.corpus.item(doc_id).text for doc_id in plan.data.corpus}
    return {
        (plan.data.queries.item(entry.query_id).text, texts[doc_id])
        for entry in plan.entries()
        for doc_id, score in zip(entry.doc_ids, held[entry.query_id], strict=True)
        if np.isnan(score)
    }


@pytest.mark.parametrize("form", [Raising, Nan, Stream, Asynchronous])
def test_only_the_pairs_that_fail_are_lost(form: type) -> None:
    plan = toy_plan(5, 5)
    held = _drive(form(), plan, allowed=3)
    assert _failed(plan, held) == BAD
    for entry in plan.entries():
        wanted = [float(doc_id.split("-")[-1]) for doc_id in entry.doc_ids]
        given = held[entry.query_id]
        assert [w for w, g in zip(wanted, given, strict=True) if g != w and not np.isnan(g)] == []


def test_a_setwise_request_fails_as_a_whole() -> None:
    plan = toy_plan(5, 5)
    held = _drive(Setwise(), plan, allowed=10)
    assert {query_id for query_id, scores in held.items() if np.isnan(scores).all()} == {"q1", "q3"}
    assert count_failed(held) == 10


@pytest.mark.parametrize("form", [Raising, Nan, Stream, Asynchronous])
def test_one_more_than_allowed_ends_the_run_by_name(form: type) -> None:
    with pytest.raises(AdapterError, match=r"query 'q\d'.*\(failed pairs: 3, allowed: 2\)"):
        _drive(form(), toy_plan(5, 5), allowed=2)


def test_failed_pairs_are_ranked_last_and_counted() -> None:
    plan = toy_plan(4, 5)
    info = toy_reranker(Raising()).info
    scores = {entry.query_id: np.arange(5, 0, -1, dtype=np.float32) for entry in plan.entries()}
    best = {entry.query_id: entry.doc_ids.index("doc-0") for entry in plan.entries()}
    for query_id, position in best.items():
        scores[query_id][position] = 9.0
    assert measure(plan, scores, info).result.measures["HitRate@1"].mean == 1.0
    scores["q2"][best["q2"]] = np.nan
    result = measure(plan, scores, info).result
    assert result.counts.failed_pairs == 1
    assert result.measures["HitRate@1"].mean == 0.75
    assert result.measures["MRR@10"].mean == pytest.approx((3 + 1 / 5) / 4)
