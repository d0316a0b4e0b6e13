"""Which prompts share a batch, and how many tokens a device takes at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mrb.engine.batching import make_batches, pack_batches, probe_token_budget

pytestmark = pytest.mark.torch


def test_batches_are_longest_first_within_the_budget() -> None:
    assert make_batches([5, 9, 5, 9], 18) == [[1, 3], [0, 2]]
    assert make_batches([50, 3], 10) == [[0], [1]]
    assert make_batches([], 10) == []


def test_a_batch_ends_where_padding_would_cost_more_than_another_forward() -> None:
    assert make_batches([100, 100, 20, 20], 512) == [[0, 1], [2, 3]]
    assert make_batches([100, 100, 95, 90], 512) == [[0, 1, 2, 3]]
    lengths = np.random.default_rng(1).integers(1, 200, 60).tolist()
    found = make_batches(lengths, 512)
    assert sorted(i for batch in found for i in batch) == list(range(60))
    assert all(len(batch) * lengths[batch[0]] <= 512 for batch in found)
    assert [lengths[i] for batch in found for i in batch] == sorted(lengths, reverse=True)


def test_packed_rows_fill_the_budget_longest_first() -> None:
    assert pack_batches([5, 9, 5, 9], 14) == [[1], [3, 0], [2]]
    assert pack_batches([50, 3, 2], 10) == [[0], [1, 2]]
    assert pack_batches([], 10) == []


@pytest.mark.parametrize(
    ("used", "free", "wanted"),
    [(2**20, 2**34, 8192), (2**20, 2**34 + 2**33, 8192), (2**10, 2**36, 65_536), (2**30, 2**31, 1024)],
    ids=["a power of two", "rounded down", "the most", "the least"],
)
def test_the_budget_of_a_gpu_is_what_half_of_its_free_memory_holds(
    used: int, free: int, wanted: int, monkeypatch: Any
) -> None:
    """`used` bytes a token in a forward of 1,024, on a stand-in for a GPU."""

    class Probed:
        device = torch.device("cuda")

        def pool_hidden(self, rows: list[Any], features: dict[str, Any]) -> None:
            assert [len(row.ids) for row in rows] == [1024]

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 5)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5 + used * 1024)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 0))
    assert probe_token_budget(Probed()) == wanted
