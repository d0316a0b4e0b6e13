"""The measures against an implementation of their formulas in plain Python, and the ranking rule against chance."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrb.metrics.measures import HEADLINE, MEASURES, Measure, measure_queries, rank_by_grade
from mrb.metrics.ranking import order_ties, rank_candidates
from tests.builders.oracle import dcg, expected_value


@st.composite
def judged_rankings(draw):
    """A ranking of up to 120 documents and graded judgements, of which some are not in the ranking."""
    length = draw(st.integers(0, 120))
    ranking = draw(st.permutations([f"d{i}" for i in range(length)]))
    pool = [f"d{i}" for i in range(length)] + [f"out{i}" for i in range(15)]
    grades = draw(st.dictionaries(st.sampled_from(pool), st.integers(-2, 5), max_size=60))
    return ranking, grades | {draw(st.sampled_from(pool)): draw(st.integers(1, 100))}


CUTOFFS = st.lists(
    st.builds(Measure, st.sampled_from(["nDCG", "Recall", "HitRate", "MRR"]), st.integers(1, 130)), max_size=4
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(judged_rankings(), min_size=1, max_size=4), CUTOFFS)
def test_every_measure_agrees_with_its_formula(cases, more):
    rankings = {f"q{i}": ranking for i, (ranking, _) in enumerate(cases)}
    qrels = {f"q{i}": grades for i, (_, grades) in enumerate(cases)}
    measures = (*MEASURES, *more)
    result = measure_queries(rankings, qrels, measures)
    for measure in measures:
        expected = [expected_value(measure.name, measure.cutoff, *case) for case in cases]
        np.testing.assert_allclose(result.values[measure], expected, rtol=0, atol=1e-12, err_msg=str(measure))


def test_a_thousand_tie_free_score_lists_from_score_to_measure():
    rng = np.random.default_rng(5)
    docs = [f"d{i}" for i in range(100)]
    rankings, qrels, expected = {}, {}, {measure: [] for measure in MEASURES}
    for number in range(1000):
        scores = rng.permutation(100).astype(np.float32) * 0.37 - 11
        grades = {docs[i]: int(rng.integers(1, 4)) for i in rng.choice(100, size=rng.integers(1, 20), replace=False)}
        by_score = [doc for _, doc in sorted(zip(scores.tolist(), docs, strict=True), reverse=True)]
        query = f"q{number}"
        rankings[query] = [docs[i] for i in rank_candidates("t", query, docs, scores)]
        qrels[query] = grades
        for measure in MEASURES:
            expected[measure].append(expected_value(measure.name, measure.cutoff, by_score, grades))
    result = measure_queries(rankings, qrels)
    for measure in MEASURES:
        np.testing.assert_allclose(result.values[measure], expected[measure], rtol=0, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(judged_rankings(), st.randoms(use_true_random=False))
def test_no_order_beats_the_ceiling(case, random):
    ranking, grades = case
    other = random.sample(ranking, len(ranking))
    result = measure_queries(
        {"best": rank_by_grade(ranking, grades), "other": other}, {"best": grades, "other": grades}
    )
    for measure in MEASURES:
        best, other_value = result.values[measure]
        assert best >= other_value - 1e-12


QUERIES, LISTED = 4000, 50


def chance_world():
    """A first stage that puts its positives on top, as first stages do: what order a scorer can leak shows."""
    rng = np.random.default_rng(3)
    docs, qrels = {}, {}
    for number in range(QUERIES):
        query = f"q{number}"
        docs[query] = [f"{number}-{i}" for i in range(LISTED)]
        qrels[query] = {docs[query][i]: int(rng.integers(1, 4)) for i in range(rng.integers(1, 4))}
    return docs, qrels


def expectation(measure, grades):
    """The mean over all orders of a list that holds every positive: each rank holds each document equally often."""
    positives = [grade for grade in grades.values() if grade > 0]
    cutoff, misses = measure.cutoff, LISTED - len(positives)
    # The chance that none of the first k ranks holds a positive.
    none = [math.comb(misses, k) / math.comb(LISTED, k) for k in range(cutoff + 1)]
    match measure.name:
        case "nDCG":
            mean_gain = sum(positives) / LISTED
            return dcg([mean_gain] * cutoff, cutoff) / dcg(sorted(positives, reverse=True), cutoff)
        case "Recall":
            return cutoff / LISTED
        case "HitRate":
            return 1 - none[cutoff]
        case "MRR":
            return sum((none[rank - 1] - none[rank]) / rank for rank in range(1, cutoff + 1))


def assert_like_chance(rankings, qrels):
    result = measure_queries(rankings, qrels)
    for measure in MEASURES:
        values = result.values[measure]
        expected = statistics.fmean(expectation(measure, qrels[query]) for query in result.query_ids)
        standard_error = values.std(ddof=1) / math.sqrt(len(values))
        assert abs(values.mean() - expected) < 3.5 * standard_error, measure


def test_a_constant_scorer_gets_what_chance_gives():
    docs, qrels = chance_world()
    flat = np.full(LISTED, 0.25, np.float32)
    rankings = {q: [ids[i] for i in rank_candidates("t", q, ids, flat)] for q, ids in docs.items()}
    assert_like_chance(rankings, qrels)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_scorer_that_returns_the_position_it_was_shown_gets_what_chance_gives(sign):
    docs, qrels = chance_world()
    rankings = {}
    for query, ids in docs.items():
        shown = [ids[i] for i in order_ties("t", query, ids)]
        scores = sign * np.arange(LISTED, dtype=np.float32)
        rankings[query] = [shown[i] for i in rank_candidates("t", query, shown, scores)]
    assert_like_chance(rankings, qrels)


def test_the_order_it_was_given_would_have_been_far_from_chance():
    docs, qrels = chance_world()
    assert measure_queries(docs, qrels, [HEADLINE]).values[HEADLINE].mean() > 0.8
