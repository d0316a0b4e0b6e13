"""The identity of scores, and the scores that a journal holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrb.errors import ResultError
from mrb.evaluation.journal import Header, Journal, Record, write_journal
from mrb.evaluation.plan import Plan, list_unscored, make_plan
from mrb.evaluation.score_key import compute_score_key
from mrb.results.schema import RerankerInfo
from tests.builders.toy import toy_candidates, toy_data, toy_plan, toy_task

HEADER = Header(score_key="a" * 64, task="toy", reranker="r", source_sha256=None, packages={})


def info(**fields: Any) -> RerankerInfo:
    base: dict[str, Any] = {
        "name": "toy",
        "kind": "pointwise",
        "inputs": ("text",),
        "version": "1",
        "uses_first_stage": False,
        "batch_invariant": False,
        "options": {"weight": 1.0},
        "source": "toy.py",
        "source_sha256": "a" * 64,
    }
    return RerankerInfo.model_validate({**base, **fields})


def record(query_id: str, first: int, *scores: float) -> Record:
    return Record(query_id, first, np.array(scores, np.float32))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"kind": "setwise"},
        {"version": "2"},
        {"uses_first_stage": True},
        {"options": {"weight": 2.0}},
        {"options": {"weight": "1.0"}},
        {"options": {}},
    ],
)
def test_what_decides_scores_is_in_the_key(change: dict[str, Any]) -> None:
    plan = toy_plan()
    assert compute_score_key(plan, info(**change)) != compute_score_key(plan, info())


@pytest.mark.parametrize(
    "change",
    [{"source": "toy 1.1"}, {"source_sha256": "b" * 64}, {"source_sha256": None}, {"inputs": ("text", "image")}],
)
def test_what_only_warns_is_not_in_the_key(change: dict[str, Any]) -> None:
    plan = toy_plan()
    assert compute_score_key(plan, info(**change)) == compute_score_key(plan, info())


@pytest.mark.parametrize(
    "change",
    [
        {"id": "other"},
        {"type": "t2i"},
        {"instruction": "Find another."},
        {"rules": {"drop_identical_ids": True}},
        {"images": {"downscale_pixels": 1000}},
    ],
)
def test_the_task_is_in_the_key(change: dict[str, Any]) -> None:
    assert compute_score_key(toy_plan(task=toy_task(**change)), info()) != compute_score_key(toy_plan(), info())


def test_the_data_revision_is_in_the_key() -> None:
    fields = toy_task().model_dump(mode="json")
    fields["source"]["parts"][0]["content"] = "1" * 64
    assert compute_score_key(toy_plan(task=toy_task(source=fields["source"])), info()) != compute_score_key(
        toy_plan(), info()
    )


def test_the_candidates_are_in_the_key() -> None:
    plan: Plan = toy_plan(n_queries=1, n_docs=3)
    other = make_plan(plan.data, toy_candidates({"q0": ["doc-0", "doc-2", "doc-1"]}), 100)
    assert compute_score_key(other, info()) != compute_score_key(plan, info())


def test_the_depth_is_in_the_key_unless_pointwise() -> None:
    shallow, deep = toy_plan(depth=2), toy_plan(depth=4)
    assert compute_score_key(shallow, info()) == compute_score_key(deep, info())
    for kind in ("setwise", "listwise"):
        assert compute_score_key(shallow, info(kind=kind)) != compute_score_key(deep, info(kind=kind))


def test_words_for_people_are_not_in_the_key() -> None:
    changed = toy_task(title="Other", description="Other.", licence="other", status="inferred")
    assert compute_score_key(toy_plan(task=changed), info()) == compute_score_key(toy_plan(), info())


def test_spans_are_joined_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write_journal(path, HEADER, [record("a", 0, 1, 2), record("b", 0, 9), record("a", 2, 3), record("c", 0)])
    held = Journal(path).scores
    assert {name: values.tolist() for name, values in held.items()} == {"a": [1, 2, 3], "b": [9], "c": []}
    assert all(values.dtype == np.float32 for values in held.values())


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([record("a", 0, 1), record("a", 2, 3)], "journal: query 'a' continues at position 2, not 1"),
        ([record("a", 1, 1)], "journal: query 'a' continues at position 1, not 0"),
        ([record("a", 0, 1), record("a", 0, 1)], "journal: query 'a' continues at position 0, not 1"),
    ],
)
def test_gaps_and_doubles_are_refused(tmp_path: Path, records: list[Record], message: str) -> None:
    path = tmp_path / "journal"
    write_journal(path, HEADER, records)
    with pytest.raises(ResultError, match=message):
        Journal(path)
    path.unlink()
    with pytest.raises(ResultError, match=message), Journal(path).open(HEADER) as journal:
        for one in records:
            journal.append(one)
    assert len(Journal(path).records) == len(records) - 1, "the record that does not fit is not written"


def test_what_is_held_deeper_than_asked_is_not_asked_again() -> None:
    plan = toy_plan(n_queries=1, n_docs=6, depth=3)
    assert list(list_unscored(plan, {"q0": np.zeros(5, np.float32)})) == []
    assert [entry.first for entry in list_unscored(plan, {"q0": np.zeros(2, np.float32)})] == [2]


def test_queries_without_candidates_are_never_missing() -> None:
    data = toy_data({"q1": "x", "q2": "y"}, {"a": "z"}, {"q1": {"a": 1}, "q2": {"a": 1}})
    plan = make_plan(data, toy_candidates({"q2": ["a"]}), 10)
    assert [entry.query_id for entry in list_unscored(plan, {})] == ["q2"]
