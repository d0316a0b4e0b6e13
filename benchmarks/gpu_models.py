"""Models in the true shapes of published ones, with random weights made on a device. Nothing is downloaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from engine_cases import make_tokenizer

from mrb.baselines.rerankers.nemotron_rerank import NemotronRerank8B
from mrb.baselines.rerankers.yes_no import AnyYesNo
from mrb.baselines.retrievers.gme import GME2B
from mrb.engine.family import ModelFamily
from mrb.engine.head import Head, make_linear_head
from mrb.engine.published_prompts import GMR, NEMOTRON_PLAIN
from mrb.training.memory_estimate import SHAPES, load_config

MUSEUM = Path(__file__).parents[1] / "tests" / "builders" / "museum"
"""Published configurations, each with the place where it was read."""
QWEN3_VL_2B = {
    "text_config": {
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_attention_heads": 16,
        "num_hidden_layers": 28,
        "tie_word_embeddings": True,
    },
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "depth": 24,
        "out_hidden_size": 2048,
        "deepstack_visual_indexes": [5, 11, 17],
    },
    "tie_word_embeddings": True,
}
"""Where Qwen3-VL-2B differs from the 8B of the museum: read in three public copies of its configuration."""
TINY = {
    "text_config": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": 4096,
        "initializer_range": 0.1,
    },
    "vision_config": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "depth": 2,
        "num_hidden_layers": 2,
        "num_heads": 2,
        "num_attention_heads": 2,
        "head_dim": 16,
        "out_hidden_size": 64,
        "fullatt_block_indexes": [1],
        "deepstack_visual_indexes": [0],
    },
}
"""What `--cpu-smoke` puts in place of dimensions of the same name."""
_TOKENS = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
    "image_token_index": "<|image_pad|>",
}


@dataclass(frozen=True)
class Shape:
    """A model to measure. `kind`: "yes-no" (two label rows), "pooled" (bidirectional, text) or "embedding"."""

    name: str
    kind: str
    config: Mapping[str, Any]


def _read_museum(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((MUSEUM / f"{name}.json").read_text())["files"]["config.json"]
    return content


def _merge(config: Mapping[str, Any], changes: Mapping[str, Any], known: bool = False) -> dict[str, Any]:
    """Return `config` with `changes`, nested ones too; with `known` only those whose name it has."""
    out = dict(config)
    for key, value in changes.items():
        if isinstance(value, Mapping):
            out[key] = _merge(out.get(key, {}), value, known)
        elif key in out or not known:
            out[key] = value
    return out


def list_shapes() -> list[Shape]:
    """Return the models, in the order in which they are measured."""
    qwen25 = {size: json.loads((SHAPES / f"qwen2.5-vl-{size}" / "config.json").read_text()) for size in ("3b", "7b")}
    return [
        Shape("GMR-3B", "yes-no", qwen25["3b"]),
        Shape("Qwen3-VL-Reranker-2B", "yes-no", _merge(_read_museum("qwen3_vl"), QWEN3_VL_2B)),
        Shape("GME-2B", "embedding", _read_museum("qwen2_vl")),
        Shape("GMR-7B", "yes-no", qwen25["7b"]),
        Shape("Nemotron-8B", "pooled", _read_museum("nemotron_rerank")),
    ]


def _shrink(config: Mapping[str, Any]) -> dict[str, Any]:
    flat = "text_config" not in config  # Qwen2-VL's published file
    changes: dict[str, Any] = dict(TINY["text_config"]) if flat else {"text_config": TINY["text_config"]}
    small = _merge(config, changes | {"vision_config": TINY["vision_config"]}, known=True)
    if flat:
        small["vision_config"] = small["vision_config"] | {"embed_dim": 32, "hidden_size": 64}
    for part in (small, small.get("text_config", {})):
        for name in ("rope_parameters", "rope_scaling"):
            if "mrope_section" in part.get(name, {}):
                part[name] = part[name] | {"mrope_section": [2, 3, 3]}
    return small


def save_small_files(shape: Shape, folder: Path, *, tiny: bool) -> None:
    """Save a checkpoint's folder without weights: configuration, tokenizer, image processor.

    The tokenizer is a stand-in: byte-level BPE of 4,096 tokens, learnt from the mini suite's texts, whose ids are the
    first of the real vocabulary. A text has more tokens than with the real one.
    """
    config = _shrink(shape.config) if tiny else dict(shape.config)
    tokenizer = make_tokenizer(4096)
    for key, token in _TOKENS.items():
        if key in config:
            config[key] = tokenizer.convert_tokens_to_ids(token)
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    vision = config["vision_config"]
    transformers.Qwen2VLImageProcessorPil(
        patch_size=vision["patch_size"], merge_size=vision.get("spatial_merge_size", 2)
    ).save_pretrained(folder)


def make_model(shape: Shape, folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """Make a model with random weights on the device from the folder's configuration."""
    config = load_config(folder)
    torch.manual_seed(0)
    with torch.device(device):
        if shape.kind == "pooled":
            model = transformers.Mistral3Model._from_config(config, dtype=dtype)
        else:
            model = transformers.AutoModelForImageTextToText.from_config(config, dtype=dtype)
    if shape.kind == "embedding":
        model.lm_head = torch.nn.Identity()
    return model.eval().requires_grad_(False)


class InMemory(AnyYesNo):
    """The adapter of a model that is in memory already, with the prompt of GMR."""

    def __init__(self) -> None:
        self.name = "benchmark"
        self.layout = GMR


class PooledInMemory(NemotronRerank8B):
    """The same for a bidirectional model of texts, with a random head."""

    family = type("WithoutTower", (ModelFamily,), {"bidirectional": True, "build_tower": lambda *given: None})()

    def __init__(self) -> None:
        self.name = "benchmark"
        self.layout = NEMOTRON_PLAIN

    def make_head(self, model: Any, folder: Path, tokenizer: Any) -> Head:
        """Return a linear head of random numbers."""
        made = torch.Generator().manual_seed(1)
        width = model.config.get_text_config().hidden_size
        return make_linear_head(torch.randn(1, width, generator=made).to(model.device) / width**0.5)


class EmbeddingInMemory(GME2B):
    """The same for GME."""

    def __init__(self) -> None:
        self.name = "benchmark"
        self.layout = self.prompt
