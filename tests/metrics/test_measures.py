import math

import numpy as np
import pytest

from mrb.metrics.measures import (
    HEADLINE,
    MAX_GRADE,
    MEASURES,
    Measure,
    _find_distinct_rows,
    measure_queries,
    rank_by_grade,
)
from mrb.metrics.ranking import rank_candidates

FILLER = [f"n{i}" for i in range(20)]


def value(measure, ranking, grades):
    result = measure_queries({"q": ranking}, {"q": grades}, [Measure.parse(measure)])
    return result.values[Measure.parse(measure)].item()


def test_a_measure_is_its_text():
    assert [str(measure) for measure in MEASURES] == [
        "nDCG@5", "nDCG@10", "HitRate@1", "HitRate@5", "HitRate@10", "Recall@5", "Recall@10", "MRR@10",
    ]  # fmt: skip
    assert all(Measure.parse(str(measure)) == measure for measure in MEASURES)
    assert str(HEADLINE) == "nDCG@10"


@pytest.mark.parametrize(
    "text", ["", "nDCG", "ndcg@10", "nDCG@0", "nDCG@05", "nDCG@1000", "nDCG@10 ", "MAP@10", "nDCG@١", "nDCG@1\n"]
)
def test_what_is_not_a_measure_is_refused(text):
    with pytest.raises(ValueError, match="is not a measure"):
        Measure.parse(text)


def test_a_measure_cannot_be_built_without_the_same_check():
    with pytest.raises(ValueError, match="is not a measure"):
        Measure("nDCG", 0)


def test_values_worked_by_hand():
    grades = {"a": 3, "b": 1, "c": 1, "elsewhere": 2, "zero": 0, "minus": -1}
    ranking = ["zero", "b", "minus", "a", *FILLER[:6], "c"]
    dcg = 1 / math.log2(3) + 3 / math.log2(5)
    ideal = 3 + 2 / math.log2(3) + 1 / math.log2(4) + 1 / math.log2(5)
    assert value("nDCG@10", ranking, grades) == pytest.approx(dcg / ideal, abs=1e-12)
    assert value("nDCG@2", ranking, grades) == pytest.approx((1 / math.log2(3)) / (3 + 2 / math.log2(3)), abs=1e-12)
    assert value("Recall@10", ranking, grades) == 2 / 4
    assert value("Recall@20", ranking, grades) == 3 / 4
    assert [value(f"HitRate@{k}", ranking, grades) for k in (1, 2, 5)] == [0, 1, 1]
    assert value("MRR@10", ranking, grades) == 1 / 2


def test_mrr_sees_nothing_past_its_cutoff():
    assert value("MRR@10", [*FILLER[:9], "a"], {"a": 1}) == pytest.approx(0.1)
    assert value("MRR@10", [*FILLER[:10], "a"], {"a": 1}) == 0.0
    assert value("MRR@11", [*FILLER[:10], "a"], {"a": 1}) == pytest.approx(1 / 11)


def test_measures_do_not_disturb_each_other():
    rankings, qrels = {"q": [*FILLER[:10], "a"]}, {"q": {"a": 1}}
    wanted = [Measure.parse(text) for text in ("MRR@5", "Recall@20", "MRR@20", "HitRate@10", "MRR@20")]
    together = measure_queries(rankings, qrels, wanted).values
    assert [together[measure].item() for measure in wanted] == [0, 1, pytest.approx(1 / 11), 0, pytest.approx(1 / 11)]


@pytest.mark.parametrize("rankings", [{"q1": ["a"]}, {"q1": ["a"], "q2": []}])
def test_a_query_without_ranking_scores_zero_and_is_there(rankings):
    result = measure_queries(rankings, {"q2": {"a": 1}, "q1": {"a": 1}})
    assert result.query_ids == ("q2", "q1")
    assert all(result.values[measure].tolist() == [0.0, 1.0] for measure in MEASURES)


def test_without_any_ranking_everything_is_zero():
    result = measure_queries({}, {"q1": {"a": 1}, "q2": {"a": 1}})
    assert all(result.values[measure].tolist() == [0.0, 0.0] for measure in MEASURES)


@pytest.mark.parametrize(
    ("rankings", "qrels", "message"),
    [
        ({"q": ["a"]}, {"q": {"a": 0, "b": -1}}, "query 'q' has no positives"),
        ({}, {"q": {}}, "query 'q' has no positives"),
        ({"q": ["a"], "other": ["a"]}, {"q": {"a": 1}}, "query 'other' has a ranking but no judgements"),
        ({"q": ["a", *FILLER, "a"]}, {"q": {"a": 1}}, "query 'q': a document occurs twice"),
        ({"q": ["a"]}, {"q": {"a": MAX_GRADE + 1}}, "query 'q' has a grade over"),
    ],
)
def test_a_callers_mistake_is_named(rankings, qrels, message):
    with pytest.raises(ValueError, match=message):
        measure_queries(rankings, qrels)


def test_grades_may_be_numpy_integers_but_not_fractions():
    assert value("nDCG@10", ["b", "a"], {"a": np.int64(2), "b": np.int8(1)}) < 1
    with pytest.raises(TypeError):
        value("nDCG@10", ["a"], {"a": 0.5})


@pytest.mark.parametrize("ids", [("a\0b", "a\0c"), ("\ud800", "\udfff"), ("", " "), ("größe", "图")])
def test_any_text_can_be_an_id(ids):
    relevant, other = ids
    result = measure_queries({relevant: [other, relevant]}, {relevant: {relevant: 1}}, [Measure("MRR", 10)])
    assert result.values[Measure("MRR", 10)].tolist() == [0.5]


def test_neighbouring_scores_beyond_two_to_the_24_are_all_that_the_ranking_sees():
    # 2^24 and 2^24 + 1 are one float32 number: a tie for the rule. What pytrec_eval gets are ranks, far below that.
    docs = ["a", "b"]
    tied = [docs[i] for i in rank_candidates("t", "q", docs, np.array([2**24, 2**24 + 1]))]
    assert tied == [docs[i] for i in rank_candidates("t", "q", docs, np.zeros(2))]
    apart = [docs[i] for i in rank_candidates("t", "q", docs, np.array([2**24, 2**24 + 2]))]
    assert value("MRR@10", apart, {"b": 1}) == 1.0


def test_the_ceiling_has_the_highest_grades_first_and_keeps_the_order_of_equals():
    grades = {"a": 1, "b": 3, "c": 1, "d": 0, "e": -2, "elsewhere": 5}
    assert rank_by_grade(["x", "e", "a", "d", "c", "b"], grades) == ["b", "a", "c", "x", "e", "d"]


def test_the_ceiling_is_below_one_if_a_positive_is_not_in_the_list():
    grades = {"a": 1, "elsewhere": 2}
    best = rank_by_grade(["x", "a"], grades)
    assert value("nDCG@10", best, grades) == pytest.approx(1 / (2 + 1 / math.log2(3)), abs=1e-12)
    assert value("HitRate@1", best, grades) == 1.0


@pytest.mark.parametrize(("rows", "width", "highest"), [(0, 3, 1), (400, 21, 1), (300, 21, 65_535), (200, 4, 2)])
def test_distinct_rows_are_those_of_numpy(rows: int, width: int, highest: int) -> None:
    drawn = np.random.default_rng(rows).integers(0, highest + 1, (rows, width))
    drawn[rows // 2 :] = drawn[: rows - rows // 2]
    distinct, which = _find_distinct_rows(drawn)
    wanted, places = np.unique(drawn, axis=0, return_inverse=True)
    assert np.array_equal(distinct, wanted) and np.array_equal(which, places)
