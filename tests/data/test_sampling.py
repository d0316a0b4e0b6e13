"""The fixed sample: test vectors, independence of order, even spread over parts."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from mrb._util.hashing import compute_sample_hash
from mrb.data.sampling import sample_queries

IDS = [f"q{number}" for number in range(1000)]
FORUMS = ("android", "english", "gaming")

# Frozen: a change here changes which queries every published result on a sample took.
VECTOR = ["q246", "q631", "q403", "q772", "q260", "q181", "q480", "q701"]
OTHER_TASK = ["q522", "q330", "q243", "q826"]
PARTS_VECTOR = ["android/1", "english/19", "gaming/5", "android/4", "english/12"]


def test_frozen_vector() -> None:
    assert sample_queries("nfcorpus", IDS, 8) == VECTOR
    assert sample_queries("fiqa", IDS, 4) == OTHER_TASK


def test_one_part_takes_the_smallest_hashes() -> None:
    assert sample_queries("nq", IDS, 50) == sorted(IDS, key=lambda query_id: compute_sample_hash("nq", query_id))[:50]


def test_input_order_does_not_matter() -> None:
    shuffled = random.Random(0).sample(IDS, len(IDS))
    assert sample_queries("nq", shuffled, 200) == sample_queries("nq", iter(IDS), 200)


def test_samples_are_nested() -> None:
    ids = [f"{forum}/{number}" for forum in FORUMS for number in range(100)]
    assert sample_queries("cqadupstack", ids, 200, FORUMS)[:40] == sample_queries("cqadupstack", ids, 40, FORUMS)


def test_fewer_queries_than_wanted_are_all_taken() -> None:
    assert sorted(sample_queries("nq", IDS[:7], 200)) == IDS[:7]
    assert sample_queries("nq", [], 200) == []


def test_parts_share_evenly() -> None:
    ids = [f"{forum}/{number}" for forum in FORUMS for number in range(100)]
    taken = Counter(query_id.split("/")[0] for query_id in sample_queries("cqadupstack", ids, 100, FORUMS))
    assert sorted(taken.values()) == [33, 33, 34]


def test_places_of_a_small_part_go_to_the_others() -> None:
    ids = [f"android/{number}" for number in range(3)]
    ids += [f"{forum}/{number}" for forum in FORUMS[1:] for number in range(100)]
    taken = Counter(query_id.split("/")[0] for query_id in sample_queries("cqadupstack", ids, 103, FORUMS))
    assert taken == {"android": 3, "english": 50, "gaming": 50}


def test_frozen_vector_over_parts() -> None:
    ids = [f"{forum}/{number}" for forum in FORUMS for number in range(20)]
    assert sample_queries("cqadupstack", ids, 5, FORUMS) == PARTS_VECTOR


def test_a_slash_in_an_id_is_no_part_by_itself() -> None:
    assert set(sample_queries("evqa", ["5:1/2", "5:1"], 2)) == {"5:1/2", "5:1"}


@pytest.mark.parametrize("query_id", ["q1", "cooking/1", "android"])
def test_an_id_outside_the_parts_is_refused(query_id: str) -> None:
    with pytest.raises(ValueError, match="none of the parts"):
        sample_queries("cqadupstack", ["android/1", query_id], 2, FORUMS)
