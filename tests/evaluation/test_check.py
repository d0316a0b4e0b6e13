"""`mrb check`: each kind of broken promise is named, and what is numeric noise is not called one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from mrb.errors import AdapterError
from mrb.evaluation.check.check import CheckOutcome, check
from mrb.evaluation.check.noise_run import measure_noise
from mrb.evaluation.check.probe import (
    Probe,
    halve_reversed,
    make_probe_requests,
    reverse_candidates,
    score_batches,
    thin_candidates,
)
from mrb.evaluation.check.report import format_check, format_noise, format_verdict
from mrb.evaluation.check.score_noise import TOLERANCE, compare_scores, is_drift
from mrb.rerankers.declaration import LoadedReranker
from mrb.rerankers.reranker import Request
from mrb.results.noise import read_noise, write_noise
from tests.builders.adapters import toy_reranker
from tests.builders.toy import toy_plan

Loader = Callable[[], LoadedReranker]


def loader(build: Callable[[], Any]) -> Loader:
    return lambda: toy_reranker(build())


def number(request: Request) -> list[float]:
    """A score in [0, 1) that depends on the pair alone."""
    digests = [hashlib.sha256((request.query.text + item.text).encode()).digest() for item in request.candidates]
    return [int.from_bytes(digest[:2], "big") / 2**16 for digest in digests]


class Honest:
    def score(self, request: Request) -> list[float]:
        return number(request)


class Streaming:
    def score_stream(self, asked: Iterable[Request]) -> Iterator[tuple[int, list[float]]]:
        for request in reversed(list(asked)):
            yield request.key, number(request)


class Counter:
    """Hidden state: the scores grow with every call."""

    step = 0.1

    def __init__(self) -> None:
        self.calls = 0

    def score(self, request: Request) -> list[float]:
        self.calls += 1
        return [score + self.calls * self.step for score in number(request)]


class SlowCounter(Counter):
    """Hidden state that moves less than any tolerance, but always upwards."""

    step = 1e-5


class Chance:
    draws = np.random.default_rng(1)

    def score(self, request: Request) -> list[float]:
        return list(self.draws.random(len(request.candidates)))


class Remembers:
    """Hidden state that repeating cannot show: a document keeps the score that its first query gave it."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}

    def score(self, request: Request) -> list[float]:
        return [self.seen.setdefault(i.text, s) for i, s in zip(request.candidates, number(request), strict=True)]


class PlaceInBatch:
    def score_stream(self, asked: Iterable[Request]) -> Iterator[tuple[int, list[float]]]:
        for place, request in enumerate(asked):
            yield request.key, [score + place for score in number(request)]


class Neighbours:
    """Scores are scaled by the batch's largest, as a normalisation over the batch would."""

    kind = "setwise"

    def score_stream(self, asked: Iterable[Request]) -> Iterator[tuple[int, list[float]]]:
        batch = [(request.key, number(request)) for request in asked]
        largest = max(max(scores) for _, scores in batch)
        yield from ((key, [score / largest for score in scores]) for key, scores in batch)


class PlaceInList:
    def score(self, request: Request) -> list[float]:
        return [score + place for place, score in enumerate(number(request))]


class DependsOnSet:
    def score(self, request: Request) -> list[float]:
        scores = number(request)
        return [score / sum(scores) for score in scores]


class Rounding:
    """A last bit that depends on how many candidates come together, as kernels choose their own order of adding."""

    size = 1e-5

    def score(self, request: Request) -> list[float]:
        side = self.size if len(request.candidates) > 4 else -self.size
        # A pair's own side of the last bit: what is even goes up where what is odd goes down.
        return [score + (side if round(score * 2**16) % 2 else -side) for score in number(request)]


class Listwise:
    kind = "listwise"

    def rank(self, request: Request) -> list[int]:
        return sorted(range(len(request.candidates)), key=number(request).__getitem__, reverse=True)


class RandomOrder(Listwise):
    draws = np.random.default_rng(2)

    def rank(self, request: Request) -> list[int]:
        return [int(position) for position in self.draws.permutation(len(request.candidates))]


def run(build: Callable[[], Any], n: int = 9, *, fresh: bool = True) -> CheckOutcome:
    return check(
        loader(build), Probe((toy_plan(n, 8),), {"far": "not here", "away": "no list", "off": "not here"}), fresh=fresh
    )


def setwise(kind: type[Any]) -> type[Any]:
    return type(kind.__name__, (kind,), {"kind": "setwise"})


def invariant(kind: type[Any]) -> type[Any]:
    return type(kind.__name__, (kind,), {"batch_invariant": True})


@pytest.mark.parametrize("build", [Honest, Streaming, setwise(DependsOnSet), Listwise, invariant(Honest)])
def test_what_holds_is_not_accused(build: Callable[[], Any]) -> None:
    checked = run(build)
    assert checked.broken == ()
    assert checked.exact
    asked = {"twice", "order", "alone", "fresh"} | (
        {"candidates", "set"} if checked.info.kind == "pointwise" else set()
    )
    assert set(checked.tasks[0].found) == asked


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (Counter, ["hidden state or chance"]),
        (SlowCounter, ["hidden state or chance"]),
        (Chance, ["hidden state or chance"]),
        (Remembers, ["hidden state: a second instance"]),
        (PlaceInBatch, ["batch order dependence"]),
        (Neighbours, ["batch dependence"]),
        (PlaceInList, ["candidate order dependence"]),
        (DependsOnSet, ["set dependence"]),
        (RandomOrder, ["hidden state or chance"]),
        (invariant(Rounding), ["declared batch_invariant"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_does_not_hold_is_named_in_one_line_each(build: Callable[[], Any], named: list[str]) -> None:
    checked = run(build)
    assert len(checked.broken) == len(named), checked.broken
    for line, name in zip(checked.broken, named, strict=True):
        assert line.startswith(f"toy: {name}")
        assert "task toy, query 'q" in line
        assert "\n" not in line


def test_rounding_is_noise_and_its_size_is_shown() -> None:
    checked = run(Rounding)
    assert checked.broken == ()
    assert not checked.exact
    found = checked.tasks[0].largest("set")
    assert found is not None and 0 < found.size < TOLERANCE
    assert "batch_invariant" not in format_verdict(checked)
    large = type("Large", (Rounding,), {"size": 0.05})
    assert "set dependence" in "".join(run(large).broken)


def test_memory_of_what_came_before_needs_the_second_instance() -> None:
    assert run(Remembers, fresh=False).broken == ()


def test_the_two_instances_do_not_live_side_by_side() -> None:
    events: list[str] = []

    class Tells(Honest):
        def __init__(self) -> None:
            events.append("built")

        def close(self) -> None:
            events.append("closed")

    run(Tells)
    assert events == ["built", "closed", "built", "closed"]


def test_a_broken_contract_is_an_error_that_names_the_query() -> None:
    with pytest.raises(AdapterError, match=r"task toy, query 'q0'.*7 values for 8 candidates"):
        run(lambda: lambda request: number(request)[1:])
    with pytest.raises(AdapterError, match=r"candidate 'doc-.*not a finite"):
        run(lambda: lambda request: [float("nan")] * len(request.candidates))


def test_a_model_that_takes_none_of_the_tasks_is_refused() -> None:
    with pytest.raises(AdapterError, match="takes image, which none of the tasks"):
        run(type("Pictures", (Honest,), {"inputs": ("image",)}))


def test_the_report_shows_every_property_and_what_was_not_asked() -> None:
    text = format_check(run(DependsOnSet))
    assert "pointwise; takes text, image, image+text" in text
    assert "twice" in text and "fresh" in text
    assert "!" in text.splitlines()[3]
    assert "not asked: not here: far, off\nnot asked: no list: away\n" in text
    assert "72 pairs in 9 requests" in text


def test_smaller_requests_keep_each_candidate_with_its_first_stage() -> None:
    seen: list[tuple[str, int, float]] = []

    class UsesRanks:
        uses_first_stage = True

        def score(self, request: Request) -> list[float]:
            assert request.first_stage is not None
            texts = [item.text for item in request.candidates]
            seen.extend(zip(texts, request.first_stage.ranks, request.first_stage.scores, strict=True))
            return [float(rank) for rank in request.first_stage.ranks]

    plan, reranker = toy_plan(1, 7), loader(UsesRanks)()
    whole = score_batches(reranker, "toy", [make_probe_requests(plan, reranker)])
    assert len(seen) == 7
    for shape in (reverse_candidates, thin_candidates, halve_reversed):
        assert {
            **whole["q0"],
            **score_batches(reranker, "toy", shape(make_probe_requests(plan, reranker)))["q0"],
        } == whole["q0"]
    assert len(set(seen)) == 7
    smaller = make_probe_requests(plan, reranker)[0].subset([3, 1], 5)
    assert smaller.request.key == 5
    assert smaller.entry.doc_ids == [f"doc-{item.text.split()[-1]}" for item in smaller.request.candidates]


def test_differences_are_told_in_spreads_and_orders_in_swapped_pairs() -> None:
    before = {"q": {"a": 1.0, "b": 2.0, "c": 3.0}}
    (found,) = compare_scores("pointwise", "t", before, {"q": {"a": 1.5, "b": 2.0}}, 2.0)
    assert (found.size, found.doc_id, found.before, found.after) == (0.25, "a", 1.0, 1.5)
    (found,) = compare_scores("pointwise", "t", before, {"q": {"a": 1.0 + 1e-9}}, 0.0)
    assert found.broken
    (found,) = compare_scores("listwise", "t", before, {"q": {"a": 1.0, "b": 3.0, "c": 2.0}}, 1.0)
    assert found.size == pytest.approx(1 / 3)


def test_a_drift_needs_many_requests_on_one_side() -> None:
    def shifted(*shifts: float) -> bool:
        known = {"q": {"a": 0.0}}
        return is_drift(d for s in shifts for d in compare_scores("pointwise", "t", known, {"q": {"a": s}}, 1.0))

    assert shifted(*[1e-6] * 8, 0.0)
    assert not shifted(*[1e-6] * 7, 0.0, 0.0)
    assert not shifted(*[1e-6] * 8, -1e-6)


def test_the_noise_floor_is_what_moved_between_two_plans(tmp_path: Any) -> None:
    probe = Probe((toy_plan(6, 8),), ())
    still = measure_noise(loader(Honest), probe)
    assert (still.floor, still.tasks["toy"].largest_difference, still.tasks["toy"].rank_changes) == (0.0, 0.0, 0)
    large = type("Large", (Rounding,), {"size": 0.5})
    moved = measure_noise(loader(large), probe)
    noise = moved.tasks["toy"]
    assert noise.largest_difference == pytest.approx(1.0, abs=1e-6)
    assert noise.rank_changes > 0
    assert noise.mean_change >= abs(noise.second - noise.first) > 0
    assert moved.floor == noise.mean_change <= noise.largest_change
    write_noise(tmp_path / "runs" / "toy", moved)
    assert read_noise(tmp_path / "runs" / "toy") == moved
    assert f"moves by {100 * moved.floor:.3f} a query" in format_noise(moved)
