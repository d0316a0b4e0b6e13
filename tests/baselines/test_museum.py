"""The museum's files name their sources, and its checkpoints have the published shape."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from tests.builders import museum

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]
FAMILIES = sorted(museum.HERE.glob("*.json"))
OLD = ("model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight", "visual.patch_embed.proj.weight")


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_every_file_has_a_source_or_is_unconfirmed(path: Path) -> None:
    family = json.loads(path.read_text(encoding="utf-8"))
    assert family["sources"]
    told = " ".join([*family["sources"], *family["unconfirmed"]])
    assert [file for file in family.get("files", {}) if file not in told] == []


@pytest.mark.parametrize("name", museum.exhibits())
def test_a_checkpoint_has_the_published_shape(name: str, tiny: Tiny) -> None:
    folder = tiny(name)
    (family,) = [f for f in map(json.loads, (p.read_text() for p in FAMILIES)) if name in f.get("exhibits", {})]
    exhibit = family["exhibits"][name]
    weights, shards = museum.read_weights(folder), [*folder.glob("*.safetensors")]
    assert len(shards) == exhibit["shards"]
    assert (folder / "model.safetensors.index.json").exists() == (len(shards) > 1)
    extra = exhibit.get("extra_weights", family.get("extra_weights", {}))
    assert {w.dtype for n, w in weights.items() if n not in extra} == {getattr(torch, family.get("dtype", "bfloat16"))}
    assert extra.keys() <= weights.keys()
    config = json.loads((folder / "config.json").read_text())
    names = family.get("names")
    if names == "old":
        assert set(OLD) <= weights.keys() and "text_config" not in config
    if names in ("old", "new", "text"):
        assert ("lm_head.weight" in weights) == exhibit["head"]
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        rows = next(w for n, w in weights.items() if n.endswith("embed_tokens.weight")).shape[0]
        assert len(tokenizer) <= rows
        ending = tokenizer.convert_ids_to_tokens(config.get("text_config", config)["eos_token_id"])
        assert ending == family.get("eos_token", "<|im_end|>")


def test_lora_weights_lie_beside_their_bases_configuration(tiny: Tiny) -> None:
    folder = tiny("mono_lora")
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "config.json",
    ]
    assert json.loads((folder / "config.json").read_text())["model_type"] == "qwen2_vl"
    assert "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight" in museum.read_weights(folder)


def test_tokens_of_qwen3_5_have_their_place_after_the_vocabulary(tiny: Tiny) -> None:
    """Published ids, counted from the end of its vocabulary; those in tokenizer_config.json alone come last."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny("lighton_lw"))
    published = {"<|endoftext|>": 248044, "<|im_end|>": 248046, "<|image_pad|>": 248056, "<think>": 248068}
    published["<|audio_pad|>"] = 248076
    for token, published_id in published.items():
        assert tokenizer.convert_tokens_to_ids(token) == museum.shift_id(published_id, "qwen3.5")
    stated = json.loads((tiny("lighton_lw") / "generation_config.json").read_text())["eos_token_id"]
    assert tokenizer.convert_ids_to_tokens(stated) == ["<|im_end|>", "<|endoftext|>"]


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3"])
def test_a_saved_again_checkpoint_is_the_same_model(name: str, tiny: Tiny) -> None:
    published, again = tiny(name), tiny(f"{name}{museum.RESAVED}")
    auto = transformers.AutoModelForImageTextToText if "vl" in name else transformers.AutoModelForCausalLM
    ids = torch.tensor([[5, 9, 300, 7]])
    with torch.no_grad():
        one, two = (auto.from_pretrained(f, dtype=torch.float32)(input_ids=ids).logits for f in (published, again))
    assert torch.equal(one, two)
    if "vl" in name:
        assert not (again / "preprocessor_config.json").exists()
        sizes = [transformers.AutoImageProcessor.from_pretrained(f, backend="pil").size for f in (published, again)]
        assert sizes[0] == sizes[1]
