"""A query's prefix computed once for its documents: the same scores and the same gradient, in fewer tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrb.engine.backbone import Row, group_rows, make_block_mask
from mrb.errors import TrainingError
from mrb.training.grad_cache import split_families
from tests.builders.steps import LOSSES, equal, stepped, warm
from tests.builders.training import parts_of_recipe, recipe_of

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]
SHARED = "memory.share_prefix=true"


@pytest.fixture(autouse=True)
def cache(training_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRB_CACHE", str(training_cache))


def row(ids: list[int], shared: int) -> Row:
    return Row(np.asarray(ids, np.int64), (), np.tile(np.arange(len(ids)), (3, 1)), shared)


@pytest.mark.parametrize("architecture", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("loss", ["supervised", "contrastive", "unified cl sft"])
def test_scores_and_gradients_are_those_of_whole_prompts(made: Any, architecture: str, loss: str) -> None:
    changes = [*LOSSES[loss], "tuning.vision=trained"]
    recipe, parts, batch = made(*changes, architecture=architecture)
    warm(parts.learner)
    whole, wanted = stepped(recipe, parts, batch, 100_000)
    counted: list[int] = []
    decoder = parts.learner.base.model.language_model
    decoder.register_forward_hook(lambda module, given, out: counted.append(out.last_hidden_state[..., 0].numel()))
    for tokens in (100_000, 400):
        counted.clear()
        done, found = stepped(recipe, parts, batch, tokens, share=True)
        equal(found, wanted, tolerance=1e-5)
        torch.testing.assert_close(done.value, whole.value, rtol=1e-5, atol=1e-5)
        for one, other in zip(done.groups, whole.groups, strict=True):
            torch.testing.assert_close(one.yes, other.yes, rtol=1e-5, atol=1e-5)
        if tokens == 100_000:
            assert sum(counted) < 0.8 * sum(len(prompt.ids) for prompt in batch.prompts)


def test_gradient_checkpointing_and_full_tuning_share_too(made: Any) -> None:
    changes = ["tuning.method=full", "memory.gradient_checkpointing=true"]
    recipe, parts, batch = made(*changes)
    _, wanted = stepped(recipe, parts, batch, 100_000)
    _, found = stepped(recipe, parts, batch, 100_000, share=True)
    equal(found, wanted, tolerance=1e-5)


def test_only_rows_that_begin_alike_are_a_family() -> None:
    rows = [row([1, 2, 9], 2), row([1, 3, 9], 2), row([1, 2, 8, 7], 2), row([4, 5], 1)]
    assert group_rows(rows) == [(2, [0, 2]), (0, [1]), (0, [3])]


def test_a_token_sees_its_prefix_and_its_own_row() -> None:
    # A prefix of two tokens, two rows behind it, and a row of its own.
    found = make_block_mask([2, 2, 1, 2], [0, 0, 0, 3]).astype(int).tolist()
    assert found == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1, 1],
    ]


def test_a_chunk_counts_a_prefix_once_and_never_exceeds_its_tokens() -> None:
    made = np.random.default_rng(0)
    for _ in range(200):
        rows = [
            row([family] * 5 + [9] * int(made.integers(1, 12)), 5)
            for family in range(int(made.integers(1, 4)))
            for _ in range(int(made.integers(1, 6)))
        ]
        budget = int(made.integers(1, 60))
        chunks = split_families(rows, budget)
        assert sorted(place for chunk in chunks for place in chunk) == list(range(len(rows)))
        for chunk in chunks:
            cost = sum(len(rows[place].ids) for place in chunk)
            for tokens, places in group_rows([rows[place] for place in chunk]):
                cost -= tokens * (len(places) - 1)
            assert cost <= budget or len(chunk) == 1


@pytest.mark.parametrize("change", ["model.attention='eager'"])
def test_what_cannot_share_is_refused(tmp_path: Path, tiny: Tiny, groups: Path, change: str) -> None:
    recipe = recipe_of(tmp_path, tiny("qwen2_5_vl"), groups, [SHARED, change]).recipe
    with pytest.raises(TrainingError, match=r"memory\.share_prefix needs a causal language model"):
        parts_of_recipe(recipe)
