"""What is to be scored: self-matches leave before the cut, depth, limits, and what a deeper run still lacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mrb.candidates.self_matches import find_self_matches
from mrb.data.sampling import sample_queries
from mrb.data.task import Sample, Task
from mrb.errors import DataError
from mrb.evaluation.plan import Plan, list_unscored, make_plan, make_requests
from tests.builders.toy import encoded, toy_candidates, toy_data, toy_plan, toy_task


def ids(plan: Plan) -> dict[str, list[str]]:
    return {entry.query_id: entry.doc_ids for entry in plan.entries()}


def test_entries_are_the_list_cut_to_the_depth() -> None:
    plan = toy_plan(n_queries=3, n_docs=5, depth=2)
    assert ids(plan) == {"q0": ["doc-0", "doc-1"], "q1": ["doc-1", "doc-2"], "q2": ["doc-2", "doc-3"]}
    assert (plan.pairs, plan.self_matches) == (6, 0)
    assert plan.entry("q1").first_stage_scores.tolist() == [1.0, float(np.float32(0.999))]
    assert toy_plan(n_queries=3, n_docs=5, depth=9).pairs == 15


def matching(**rules: bool) -> Task:
    task: Task = toy_task(rules=rules)
    return task


def test_a_query_in_the_corpus_leaves_its_own_list_before_the_cut() -> None:
    corpus = {name: f"text {name}" for name in "abc"}
    for drops, wanted in ((True, {"a": ["b", "c"], "z": ["a", "b"]}), (False, {"a": ["a", "b"], "z": ["a", "b"]})):
        task = matching(drop_identical_ids=drops)
        data = toy_data({"a": "text a", "z": "text z"}, corpus, {"a": {"b": 1}, "z": {"a": 1}}, task)
        plan = make_plan(data, toy_candidates({"a": list("abc"), "z": list("abc")}, task=task), 2)
        assert ids(plan) == wanted
        assert plan.self_matches == (1 if drops else 0)
        # The scores stay with their documents.
        assert (
            plan.entry("a").first_stage_scores.tolist() == np.float32([0.999, 0.998] if drops else [1, 0.999]).tolist()
        )


def test_a_composed_query_leaves_out_its_own_picture() -> None:
    red, blue = (encoded(Image.new("RGB", (3, 3), colour)) for colour in ("red", "blue"))
    corpus = {"a": ("words", red), "b": ("", blue), "c": ("red", None), "d": ("", red)}
    queries = {"picture": ("like this", red), "words": ("red", None)}
    for drops, wanted in ((True, ["b", "c"]), (False, ["a", "b", "c"])):
        task = matching(drop_query_image_from_candidates=drops)
        data = toy_data(queries, corpus, {"picture": {"b": 1}, "words": {"b": 1}}, task)
        plan = make_plan(data, toy_candidates({q: list("abcd") for q in queries}, task=task), 3)
        assert ids(plan) == {"picture": wanted, "words": ["a", "b", "c"]}
        assert plan.self_matches == (2 if drops else 0)


def test_a_query_of_several_images_is_the_document_with_the_same_ones_in_order() -> None:
    red, blue = (encoded(Image.new("RGB", (3, 3), colour)) for colour in ("red", "blue"))
    corpus = {
        "same": ("", [red, blue]),
        "turned": ("", [blue, red]),
        "part": ("", [red]),
        "more": ("", [red, blue, red]),
    }
    task = matching(drop_query_image_from_candidates=True)
    data = toy_data({"q": ("like these", [red, blue])}, corpus, {"q": {"part": 1}}, task)
    plan = make_plan(data, toy_candidates({"q": list(corpus)}, task=task), 4)
    assert ids(plan) == {"q": ["turned", "part", "more"]}
    assert find_self_matches(data) == {"q": {"same"}}


def test_a_query_without_candidates_is_planned_but_not_asked() -> None:
    data = toy_data({"q1": "x", "q2": "y"}, {"a": "z"}, {"q1": {"a": 1}, "q2": {"a": 1}})
    plan = make_plan(data, toy_candidates({"q2": ["a"]}), 10)
    assert ids(plan) == {"q1": [], "q2": ["a"]}
    assert plan.pairs == 1
    assert [
        item.entry.query_id for item in make_requests(plan, plan.entries(), "pointwise", uses_first_stage=False)
    ] == ["q2"]


def test_limit_takes_the_first_queries_and_is_told() -> None:
    whole = toy_plan(n_queries=6)
    plan = make_plan(whole.data, whole.candidates, 3, limit=2)
    assert (plan.query_ids, plan.info.selection) == (("q0", "q1"), "limit")
    for limit in (None, 6, 7):
        plan = make_plan(whole.data, whole.candidates, 3, limit=limit)
        assert (len(plan.query_ids), plan.info.selection) == (6, "all")


def test_a_sample_is_that_of_the_suite_and_is_told() -> None:
    whole = toy_plan(n_queries=30)
    plan = make_plan(whole.data, whole.candidates, 3, sample=Sample(queries=5))
    chosen = sample_queries("toy", whole.data.queries, 5)
    assert plan.query_ids == tuple(q for q in whole.data.queries if q in chosen)  # in the task's order
    assert (len(plan.query_ids), plan.info.selection) == (5, "sample")
    assert make_plan(whole.data, whole.candidates, 3, limit=2, sample=Sample(queries=5)).info.selection == "limit"


def test_a_candidate_that_the_corpus_lacks_is_named_with_its_query() -> None:
    data = toy_data({"q1": "x"}, {"a": "z"}, {"q1": {"a": 1}})
    plan = make_plan(data, toy_candidates({"q1": ["a", "gone"]}), 10)
    with pytest.raises(DataError, match="task toy, query 'q1': corpus: no row with id 'gone'"):
        list(make_requests(plan, plan.entries(), "pointwise", uses_first_stage=False))


def test_keys_tell_answers_apart_and_nothing_else() -> None:
    plan = toy_plan(n_queries=5)
    for kind in ("pointwise", "setwise"):
        keys = [item.request.key for item in make_requests(plan, plan.entries(), kind, uses_first_stage=False)]
        assert keys == [0, 1, 2, 3, 4]


def test_scores_find_their_way_back_to_first_stage_order() -> None:
    plan = toy_plan(n_queries=3, n_docs=20)
    for item in make_requests(plan, plan.entries(), "pointwise", uses_first_stage=False):
        shown = [int(candidate.text.split()[-1]) for candidate in item.request.candidates]
        restored = item.in_first_stage_order(np.array(shown, np.float32))
        assert [f"doc-{int(n)}" for n in restored] == item.entry.doc_ids


def test_a_deeper_run_asks_for_what_is_missing_and_shows_its_true_ranks(tmp_path: Path) -> None:
    plan = toy_plan(n_queries=3, n_docs=6, depth=6)
    held = {"q0": np.zeros(6, np.float32), "q1": np.zeros(4, np.float32)}
    spans = list(list_unscored(plan, held))
    assert [(entry.query_id, entry.first) for entry in spans] == [("q1", 4), ("q2", 0)]
    assert spans[0].doc_ids == plan.entry("q1").doc_ids[4:]
    assert spans[0].first_stage_scores.tolist() == plan.entry("q1").first_stage_scores[4:].tolist()
    tail, _ = make_requests(plan, spans, "pointwise", uses_first_stage=True)
    assert tail.request.first_stage is not None
    for candidate, rank in zip(tail.request.candidates, tail.request.first_stage.ranks, strict=True):
        doc_id = plan.entry("q1").doc_ids[rank - 1]
        assert candidate.text == plan.data.corpus.item(doc_id).text
    assert sorted(tail.request.first_stage.ranks) == [5, 6]
    assert spans[0].tail(1).first == 5 and spans[0].tail(1).doc_ids == plan.entry("q1").doc_ids[5:]
