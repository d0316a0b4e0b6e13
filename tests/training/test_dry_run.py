"""`mrb train --dry-run`: the estimate of a process's memory follows what a chunk of a step can hold."""

from __future__ import annotations

import pytest

from mrb.training.dry_run import estimate_memory, format_memory
from mrb.training.memory_estimate import ModelSize
from mrb.training.recipe import load_recipe

pytestmark = pytest.mark.torch

SHAPE = ModelSize(
    parameters=1000,
    trained=100,
    weight_bytes=2000,
    hidden=8,
    layers=3,
    state_bytes=2,
    layer_bytes=50.0,
    layer_fixed=0.0,
)


def activations(*changes: str) -> float:
    return estimate_memory(load_recipe("gmr-3b-sft", changes).recipe, SHAPE)["activations"]


def test_activations_grow_with_the_chunk_until_a_step_fits_into_it() -> None:
    # One query with 1 + 3 documents of at most 100 tokens: 400 tokens, whatever larger chunk is allowed.
    step = ("model.max_length=100", "memory.queries=1", "sampling.positives=1", "sampling.negatives=3")
    assert activations(*step, "memory.chunk_tokens=200") * 2 == activations(*step, "memory.chunk_tokens=400")
    assert activations(*step, "memory.chunk_tokens=400") == activations(*step, "memory.chunk_tokens=40000")
    # A prompt goes through whole.
    assert activations(*step, "memory.chunk_tokens=10") * 4 == activations(*step, "memory.chunk_tokens=400")


def test_checkpointing_keeps_the_inputs_of_layers_and_one_layer() -> None:
    step = ("model.max_length=100", "memory.queries=1", "sampling.positives=1", "sampling.negatives=3")
    tokens = 400
    kept = tokens * (8 * 2 * 3 + 50)
    assert activations(*step, "memory.gradient_checkpointing=true") == kept + tokens * 50
    assert activations(*step, "memory.gradient_checkpointing=false") == tokens * 50 * 4


def test_the_verdict_is_for_the_sum() -> None:
    loaded = load_recipe("gmr-3b-sft").recipe
    shown = list(format_memory(loaded, SHAPE))
    assert "fits a card of 80" in shown[1]
    big = ModelSize(**{**SHAPE.__dict__, "weight_bytes": 90_000_000_000})
    assert "does not fit a card of 80" in list(format_memory(loaded, big))[1]
