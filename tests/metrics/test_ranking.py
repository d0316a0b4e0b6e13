import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrb.errors import AdapterError
from mrb.metrics.ranking import has_tie_at_cutoff, order_ties, rank_candidates

# Few distinct values, so that most lists have ties; the two zeros are one value.
COARSE = st.sampled_from([-1.5, -0.0, 0.0, 1e-30, 2.0, 16777216.0])
LISTS = st.lists(COARSE, min_size=1, max_size=30)


def key_of(task, query, doc):
    """The tie key, written again from its description."""
    parts = b"".join(len(p.encode()).to_bytes(4, "big") + p.encode() for p in (task, query, doc))
    return hashlib.blake2b(parts, digest_size=8, person=b"mrb-tie-v1").digest()


def names(count):
    return [f"d{i}" for i in range(count)]


def ranked_ids(doc_ids, scores, **options):
    return [doc_ids[i] for i in rank_candidates("t", "q", doc_ids, np.asarray(scores, np.float32), **options)]


@settings(deadline=None, max_examples=50)
@given(LISTS)
def test_ranks_by_score_then_by_hash(scores):
    docs = names(len(scores))
    given_score = dict(zip(docs, scores, strict=True))
    expected = sorted(docs, key=lambda doc: (-given_score[doc], key_of("t", "q", doc)))
    assert ranked_ids(docs, scores) == expected


@settings(deadline=None, max_examples=50)
@given(LISTS, st.randoms(use_true_random=False))
def test_the_order_of_the_input_changes_nothing(scores, random):
    pairs = list(zip(names(len(scores)), scores, strict=True))
    shuffled = random.sample(pairs, len(pairs))
    assert ranked_ids(*zip(*pairs, strict=True)) == ranked_ids(*zip(*shuffled, strict=True))


def test_returns_every_position_once_as_int64():
    order = rank_candidates("t", "q", names(50), np.zeros(50, np.float32))
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(50))


def test_minus_zero_ties_with_zero():
    docs = names(20)
    assert ranked_ids(docs, [0.0, -0.0] * 10) == ranked_ids(docs, [0.0] * 20)


def test_ties_are_broken_anew_for_each_query_and_task():
    docs, flat = names(40), np.zeros(40, np.float32)
    orders = {tuple(rank_candidates(task, query, docs, flat)) for task in ("t1", "t2") for query in ("q1", "q2", "q3")}
    assert len(orders) == 6


def test_a_group_of_ties_does_not_depend_on_the_rest_of_the_list():
    docs = names(10)
    alone = ranked_ids(docs, [1.0] * 10)
    among = ranked_ids([*docs, "above", "below"], [1.0] * 10 + [2.0, 0.5])
    assert among == ["above", *alone, "below"]


def test_scores_are_compared_as_float32():
    docs = ["a", "b", "c", "d"]
    nearly = np.array([1.0, 1.0 + 1e-9, 1.0 - 1e-9, 1.0])  # one float32 number
    assert [docs[i] for i in rank_candidates("t", "q", docs, nearly)] == ranked_ids(docs, [1.0] * 4)
    assert ranked_ids(["low", "high"], [1.0, np.nextafter(np.float32(1), np.float32(2))]) == ["high", "low"]


def test_equal_hashes_fall_back_to_the_document_id(monkeypatch):
    monkeypatch.setattr("mrb.metrics.ranking.compute_tie_hashes", lambda task, query, docs: [7] * len(docs))
    assert ranked_ids(["c", "a", "b"], [1.0, 1.0, 1.0]) == ["a", "b", "c"]


def test_scores_without_ties_cost_no_hash(monkeypatch):
    monkeypatch.setattr("mrb.metrics.ranking.compute_tie_hashes", lambda *ids: pytest.fail("hashed without a tie"))
    assert ranked_ids(names(3), [1.0, 3.0, 2.0]) == ["d1", "d2", "d0"]


def test_the_scores_given_are_left_as_they_were():
    scores = np.array([1.0, 2.0, 3.0], np.float32)
    rank_candidates("t", "q", names(3), scores, failed=np.array([False, True, False]))
    assert scores.tolist() == [1.0, 2.0, 3.0]


def test_an_empty_list_has_an_empty_ranking():
    assert rank_candidates("t", "q", [], np.zeros(0, np.float32)).tolist() == []
    assert order_ties("t", "q", []).tolist() == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_refused_by_name(bad):
    with pytest.raises(AdapterError, match=r"task nfcorpus, query 'PLAIN-2', candidate 'd1'"):
        rank_candidates("nfcorpus", "PLAIN-2", names(3), np.array([0.0, bad, bad], np.float32))


def test_a_score_too_large_for_float32_is_refused_by_name():
    with pytest.raises(AdapterError, match="candidate 'd2': the score is inf"):
        rank_candidates("t", "q", names(3), np.array([0.0, 1.0, 1e39]))


@pytest.mark.parametrize(
    ("count", "message"), [(2, "query 'q': 2 scores for 3 candidates, none for candidate 'd2'"), (4, "4 scores for 3")]
)
def test_a_wrong_count_is_refused(count, message):
    with pytest.raises(AdapterError, match=message):
        rank_candidates("t", "q", names(3), np.zeros(count, np.float32))


@pytest.mark.parametrize("scores", [np.zeros((3, 1), np.float32), np.float32(0), ["a", "b", "c"], [[1.0], [], []]])
def test_what_is_not_a_list_of_numbers_is_refused(scores):
    with pytest.raises(AdapterError, match="task t, query 'q'"):
        rank_candidates("t", "q", names(3), scores)


def test_failed_pairs_come_last_in_hash_order_whatever_their_score():
    docs = names(12)
    failed = np.arange(12) % 3 == 0
    scores = np.where(failed, np.nan, -3.4e38).astype(np.float32)
    order = ranked_ids(docs, scores, failed=failed)
    last = sorted((d for d, f in zip(docs, failed, strict=True) if f), key=lambda d: key_of("t", "q", d))
    assert order[8:] == last


def test_tie_order_is_the_order_of_a_constant_scorer():
    docs = names(100)
    assert order_ties("t", "q", docs).tolist() == rank_candidates("t", "q", docs, np.ones(100, np.float32)).tolist()
    assert [docs[i] for i in order_ties("t", "q", docs)] == sorted(docs, key=lambda d: key_of("t", "q", d))


def test_tied_across_looks_at_the_two_ranks_beside_the_cutoff():
    ranked = np.array([3.0, 2.0, 2.0, 1.0], np.float32)
    assert [has_tie_at_cutoff(ranked, cutoff) for cutoff in (1, 2, 3, 4, 10)] == [False, True, False, False, False]
    assert has_tie_at_cutoff(np.array([0.0, -0.0], np.float32), 1)
    with pytest.raises(ValueError, match="at least 1"):
        has_tie_at_cutoff(ranked, 0)
