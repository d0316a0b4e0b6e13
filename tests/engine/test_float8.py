"""Matrix products in 8-bit floats equal those of rounded numbers; scores hardly depend on their batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrb.engine.float8 import Float8Linear, quantize_linears
from mrb.errors import AdapterError
from tests.builders.requests import mixed, texts
from tests.engine.test_engine import Load, ask

pytestmark = pytest.mark.torch
Tiny = Callable[[str], Path]


def round_to_e4m3(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Round by the format's definition: 3 bits of mantissa, exponents from -6, at most 448, ties to even."""
    exponents = np.maximum(np.floor(np.log2(np.maximum(np.abs(values), 1e-30))), -6)
    step = 2.0 ** (exponents - 3)
    return np.clip(np.round(values / step) * step, -448, 448)


@pytest.mark.parametrize("bias", [True, False])
def test_a_product_is_that_of_the_rounded_numbers(bias: bool) -> None:
    made = torch.Generator().manual_seed(1)
    linear = torch.nn.Linear(48, 32, bias=bias)
    torch.nn.init.normal_(linear.weight, generator=made)
    states = torch.randn(2, 7, 48, generator=made) * torch.logspace(-3, 3, 7)[:, None]
    found = Float8Linear(linear)(states)
    assert found.shape == (2, 7, 32)
    rounded = []
    for values in (states.reshape(-1, 48).numpy(), linear.weight.detach().numpy()):
        scale = np.abs(values).max(1, keepdims=True) / np.float32(448)
        rounded.append(round_to_e4m3(values / scale).astype(np.float64) * scale)
    wanted = rounded[0] @ rounded[1].T + (linear.bias.detach().numpy() if bias else 0)
    size = np.abs(rounded[0]).max(1, keepdims=True) * np.abs(rounded[1]).sum(1)
    assert np.max(np.abs(found.detach().numpy().reshape(14, 32) - wanted) / size) < 1e-6


def test_a_row_of_zeros_gives_the_bias() -> None:
    linear = torch.nn.Linear(16, 16)
    assert torch.equal(Float8Linear(linear)(torch.zeros(1, 16))[0], linear.bias)


# The second model's scores lie close together, so that rounding orders them anew.
@pytest.mark.parametrize(
    ("name", "architecture", "least"), [("gmr-7b", "qwen2_5_vl", 0.97), ("qwen3-reranker-4b", "qwen3", 0.6)]
)
def test_scores_are_near_and_hardly_depend_on_the_batch(
    name: str, architecture: str, least: float, tiny: Tiny, load: Load
) -> None:
    requests = [*texts(), *mixed()] if architecture == "qwen2_5_vl" else texts()
    exact, reduced = load(name, tiny(architecture)), load(name, tiny(architecture), dtype="float8")
    assert "float8_e4m3fn" in reduced.target.engine.backbone.description
    found = ask(reduced, requests)
    alone = ask(load(name, tiny(architecture), dtype="float8", batch_tokens="1", share_prefix="false"), requests)
    pairs = [np.concatenate([scores[key] for key in sorted(scores)]) for scores in (found, alone, ask(exact, requests))]
    away, apart = np.abs(pairs[0] - pairs[2]), np.abs(pairs[0] - pairs[1])
    assert np.median(away) > 1e-4, "nothing was rounded"
    assert np.corrcoef(pairs[0], pairs[2])[0, 1] > least
    # Sums in another order may round one number differently, and few pairs have such a number.
    assert np.median(apart) < 1e-6
    assert apart.mean() < 0.1 * away.mean()


def test_what_cannot_be_computed_is_refused_by_name(tiny: Tiny, load: Load) -> None:
    with pytest.raises(AdapterError, match=r"the matrix 0 has 24 x 16 values, no multiples of 16"):
        quantize_linears(torch.nn.Sequential(torch.nn.Linear(24, 16)))
    with pytest.raises(AdapterError, match="Sequential has no plain linear layers"):
        quantize_linears(torch.nn.Sequential())
    with pytest.raises(AdapterError, match="wanted one of auto, float32, bfloat16, float16, float8"):
        load("gmr-7b", tiny("qwen2_5_vl"), dtype="fp8")
