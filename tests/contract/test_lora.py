"""LoRA weights on a base: loaded whole, under the names of today and of before, or refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from asked import texts
from by_hand import LIMITS
from safetensors.torch import load_file, save_file

from mrb.declaration import load_reranker
from mrb.errors import AdapterError

Weights = dict[str, torch.Tensor]
Tiny = Callable[[str], Path]


def changed(source: Path, folder: Path, change: Callable[[Weights], Weights], **config: Any) -> Path:
    shutil.copytree(source, folder)
    weights = change(load_file(folder / "adapter_model.safetensors"))
    save_file(weights, folder / "adapter_model.safetensors")
    stated = json.loads((folder / "adapter_config.json").read_text()) | config
    (folder / "adapter_config.json").write_text(json.dumps(stated))
    return folder


def scores(folder: Path) -> dict[int, list[float]]:
    limits = {key: str(value) for key, value in LIMITS.items()}
    reranker = load_reranker("monoqwen2-vl", {"path": str(folder), "device": "cpu", **limits})
    try:
        return dict(reranker.target.score_stream(texts()))
    finally:
        reranker.close()


def old_names(weights: Weights) -> Weights:
    return {name.replace(".model.language_model.", ".model."): value for name, value in weights.items()}


def test_names_of_older_releases_are_the_same_weights(tiny: Tiny, tmp_path: Path) -> None:
    """As lightonai/MonoQwen2-VL-v0.1 was saved, before the language model had a module of its own."""
    source = tiny("mono_lora")
    targets = "(.*(model).*(q_proj|v_proj|down_proj).*$)"
    old = changed(source, tmp_path / "old", old_names, target_modules=targets)
    assert "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight" in load_file(old / "adapter_model.safetensors")
    assert scores(old) == scores(source)


def first(weights: Weights) -> str:
    return min(weights)


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        (lambda w: {n: v for n, v in w.items() if n != first(w)}, {}, r"missing .*lora_A.*would be random"),
        (
            lambda w: w | {first(w).replace("layers.0", "layers.9"): torch.zeros(4, 128)},
            {},
            r"layers\.9\.\S+ \(1 such weights\) belongs to no part of the model",
        ),
        (lambda w: w | {first(w): torch.zeros(5, 128)}, {}, r"cannot be loaded: .*size mismatch for .*lora_A"),
        (lambda w: w, {"target_modules": ["nothing"]}, r"cannot be loaded: .*nothing"),
        (lambda w: w, {"peft_type": "UNHEARD_OF"}, r"cannot be loaded"),
        (lambda w: w, {"base_model_name_or_path": ""}, r"names no base_model_name_or_path"),
    ],
    ids=["missing", "left over", "shape", "no module", "no such method", "no base"],
)
def test_what_does_not_fit_is_refused(
    change: Callable[[Weights], Weights], config: dict[str, Any], message: str, tiny: Tiny, tmp_path: Path
) -> None:
    folder = changed(tiny("mono_lora"), tmp_path / "lora", change, **config)
    with pytest.raises(AdapterError, match=message) as caught:
        scores(folder)
    assert "\n" not in str(caught.value)


def test_a_weight_that_the_base_lacks_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny("mono_lora").parent / "mono_base", base)
    weights = load_file(base / "model.safetensors")
    weights.pop("model.norm.weight")
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    folder = changed(tiny("mono_lora"), tmp_path / "lora", lambda w: w, base_model_name_or_path=str(base))
    with pytest.raises(AdapterError, match=r"holds no model\.\S*norm\.weight"):
        scores(folder)
