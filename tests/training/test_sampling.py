"""Sampling of groups and of their documents: fixed by a seed, one kind fills up for the other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mrb.errors import TrainingError
from mrb.training.data.group import Sampling, deal_groups, order_groups, sample_documents
from tests.training.test_data import group

# Sampling


def test_a_draw_mixes_hard_and_random_and_depends_on_its_seed_alone() -> None:
    big = group(hard=40, random=40)
    sampling = Sampling(negatives=8, hard=0.25, first_rank=5, last_rank=20)
    sampled = sample_documents(big, sampling, (0, 1, 2, 3))
    ranks = [n.rank for n in sampled.negatives if n.rank is not None]
    assert len(ranks) == 2
    assert all(5 <= rank <= 20 for rank in ranks)
    assert len({n.id for n in sampled.negatives}) == 8
    assert len(sampled.positives) == 1
    assert sample_documents(big, sampling, (0, 1, 2, 3)) == sampled
    assert sample_documents(big, sampling, (0, 1, 2, 4)) != sampled
    shares = [sample_documents(big, Sampling(negatives=8, hard=h), (0,)) for h in (0, 0.5, 1)]
    assert [sum(n.rank is not None for n in one.negatives) for one in shares] == [0, 4, 8]
    assert [len(sample_documents(big, Sampling(negatives=n), (0,)).negatives) for n in (2, 4, 8, 16)] == [2, 4, 8, 16]


def test_one_kind_fills_up_for_the_other_and_what_is_missing_is_counted() -> None:
    for hard, random in ((1, 9), (9, 1)):
        sampled = sample_documents(group(hard=hard, random=random), Sampling(negatives=8, hard=0.5), (0,))
        assert (len(sampled.hard), len(sampled.random)) == ((1, 7) if hard == 1 else (7, 1))
    assert len(sample_documents(group(hard=1, random=9), Sampling(negatives=16, hard=0.5), (0,)).negatives) == 10
    with pytest.raises(ValueError, match="the last is before the first"):
        Sampling(first_rank=9, last_rank=3)


SIZES = {"a": 10, "b": 30, "c": 60}


@pytest.mark.parametrize(
    ("sampling", "shares"),
    [
        (Sampling(), (1 / 3, 1 / 3, 1 / 3)),
        (Sampling(by_size=1), (0.1, 0.3, 0.6)),
        (Sampling(weights={"c": 2}), (0.25, 0.25, 0.5)),
        (Sampling(by_size=1, weights={"a": 3, "b": 0}), (1 / 3, 0, 2 / 3)),
    ],
)
def test_sources_come_as_often_as_asked_in_every_stretch(sampling: Sampling, shares: tuple[float, ...]) -> None:
    found = order_groups(SIZES, 600, sampling, seed=5)
    assert found.shape == (600, 3)
    for start in range(0, 600, 100):
        counts = Counter(found[start : start + 100, 0].tolist())
        for source, share in enumerate(shares):
            assert abs(counts[source] - 100 * share) <= 2
            assert share or not counts[source]
    for source, size in enumerate(SIZES.values()):
        own = found[found[:, 0] == source]
        for visit in range(own[-1, 2] if len(own) else 0):
            rows = own[own[:, 2] == visit, 1]
            assert sorted(rows) == list(range(size))  # all once before one again
    assert np.array_equal(order_groups(SIZES, 600, sampling, seed=5), found)
    assert not np.array_equal(order_groups(SIZES, 600, sampling, seed=6), found)


def test_weights_of_no_source_are_refused() -> None:
    for weights, words in (({"d": 1.0}, "no source 'd'; there are a, b, c"), (dict.fromkeys("abc", 0.0), "weight 0")):
        with pytest.raises(TrainingError, match=words):
            order_groups(SIZES, 10, Sampling(weights=weights), seed=0)
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Sampling(weights={"a": -1})


@pytest.mark.torch
@pytest.mark.parametrize("at_once", [1, 2])
def test_processes_get_about_equal_costs_in_each_step(at_once: int) -> None:
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler, SequentialSampler

    queries, processes, steps = 32, 4, 50
    costs = np.random.default_rng(0).lognormal(6, 1, queries * steps)
    dealt = deal_groups(costs, queries, processes, at_once)
    for step in range(steps):
        own = slice(queries * step, queries * (step + 1))
        assert sorted(dealt[own]) == list(range(own.start, own.stop))

    def measure_waste(costs: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        """How much more than the mean the process with the most does, as accelerate deals the batches."""
        batches = BatchSampler(SequentialSampler(range(len(costs))), at_once, drop_last=False)
        shards = [BatchSamplerShard(batches, processes, number) for number in range(processes)]
        spent = np.stack([costs[np.concatenate(list(shard))].reshape(steps, -1).sum(1) for shard in shards])
        return float((spent.max(0) / spent.mean(0)).mean()) - 1

    before, after = measure_waste(costs), measure_waste(costs[dealt])
    assert before > 0.3
    assert after < 0.1
