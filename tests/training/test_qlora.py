"""QLoRA: the base's linear layers in 4 bits by bitsandbytes, called by transformers and peft."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mrb.errors import AdapterError, TrainingError
from mrb.rerankers.declaration import load_reranker
from mrb.training.memory_estimate import FOUR_BITS, measure_size
from mrb.training.model import describe_trained
from mrb.training.recipe import LANGUAGE_MODEL, LoadedRecipe
from mrb.training.run import train
from tests.builders.steps import LOSSES, stepped, warm
from tests.builders.training import batch_of, parts_of_recipe, recipe_of

pytestmark = pytest.mark.torch

QLORA = "tuning.method=qlora"


@pytest.fixture
def small(
    tmp_path: Path, tiny: Callable[[str], Path], groups: Path, training_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., LoadedRecipe]:
    """`small(changes)`: a recipe on a vision-language model."""
    monkeypatch.setenv("MRB_CACHE", str(training_cache))
    return lambda *changes, architecture="qwen2_5_vl": recipe_of(tmp_path, tiny(architecture), groups, changes)


def list_four_bits(model: Any) -> dict[str, Any]:
    """The layers in 4 bits, by name in the base model."""
    from bitsandbytes.nn import Linear4bit

    found = {name: module for name, module in model.named_modules() if isinstance(module, Linear4bit)}
    return {name.removesuffix(".base_layer"): module for name, module in found.items()}


@pytest.mark.parametrize("loss", ["supervised", "contrastive"])
def test_it_computes_what_lora_does_on_the_rounded_weights(small: Any, loss: str) -> None:
    from bitsandbytes.functional import dequantize_4bit

    recipe = small(*LOSSES[loss], QLORA).recipe
    parts, plain = parts_of_recipe(recipe), parts_of_recipe(small(*LOSSES[loss]).recipe)
    four, layers = list_four_bits(parts.learner.base), dict(plain.learner.base.named_modules())
    assert four and four.keys() == {name for name in layers if re.fullmatch(LANGUAGE_MODEL, name)}
    for name, module in four.items():
        state, exact = module.weight.quant_state, layers[name].base_layer.weight
        assert state.nested and state.quant_type == "nf4"
        rounded = dequantize_4bit(module.weight.data, state)
        assert 0 < (rounded - exact).norm() < 0.15 * exact.norm()
        exact.data = rounded
    known = dict(plain.learner.list_trained())
    warm(plain.learner)
    with torch.no_grad():
        for name, values in parts.learner.list_trained():
            values.copy_(known[name])
    batch = batch_of(recipe, parts, (0, 1, 3))
    (step, gradients), (wanted, expected) = (stepped(recipe, one, batch, 300) for one in (parts, plain))
    torch.testing.assert_close(step.value, wanted.value, rtol=1e-5, atol=1e-6)
    assert gradients.keys() == expected.keys() and any(gradient.abs().max() > 0 for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_a_run_writes_lora_weights_of_the_base(small: Any, tmp_path: Path) -> None:
    train(small(QLORA, "schedule.steps=2"), tmp_path / "out", fresh=False, command=("mrb", "train"))
    options = {"path": str(tmp_path / "out" / "model"), "layout": "gmr", "max_pixels": "20000"}
    reranker = load_reranker("yes-no", options).target
    assert not list_four_bits(reranker.engine.backbone.model)


def test_its_size_is_estimated(small: Any) -> None:
    lora, qlora = measure_size(small().recipe), measure_size(small(QLORA).recipe)
    learner = parts_of_recipe(small(QLORA).recipe).learner
    numbers = sum(module.in_features * module.out_features for module in list_four_bits(learner.base).values())
    assert lora.weight_bytes - qlora.weight_bytes == pytest.approx(numbers * (4 - FOUR_BITS / 8), abs=100)
    assert (lora.parameters, lora.trained) == (qlora.parameters, qlora.trained)
    assert f" of {qlora.parameters:,} parameters" in describe_trained(learner)


def test_what_it_cannot_do_is_refused(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError, match=r"output\.merge is for LoRA weights"):
        small(QLORA, "output.merge=true")
    encoder = ("model.layout=pair", "model.max_length=40", "rows.yes=['a']", "rows.no=['b']")
    with pytest.raises(TrainingError, match=r"is an encoder; tuning\.method 'qlora' is for language models"):
        parts_of_recipe(small(*encoder, QLORA, architecture="minilm").recipe)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else find(name))
    with pytest.raises(AdapterError, match=r"^tuning\.method 'qlora' needs bitsandbytes: pip install 'mrb\[qlora\]'$"):
        parts_of_recipe(small(QLORA).recipe)
