"""Build a recipe's model without its weights: count its parameters and measure one layer, for memory estimates."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mrb._util.home import expand_user
from mrb.engine.backbone import Row
from mrb.engine.checkpoint import read_config
from mrb.engine.lora import read_adapter
from mrb.errors import TrainingError
from mrb.training.encoder import drop_dropout, is_encoder
from mrb.training.losses import LabelRows
from mrb.training.model import Learner, apply_tuning
from mrb.training.recipe import Recipe
from mrb.training.recipe_content import RECIPES

SHAPES = RECIPES / "shapes"
PROBES = (8, 24)
"""Lengths in tokens of the two rows that a layer is measured with, to separate its per-token and its constant cost."""
FOUR_BITS = 4.127
"""Bits of a weight in NF4 with double quantisation (https://arxiv.org/abs/2305.14314, section 3)."""
_FEW = 512
"""Vocabulary size of the measured model: its embeddings are not measured."""


@dataclass(frozen=True)
class ModelSize:
    """Sizes of a recipe's model.

    `parameters` counts all parameters, `trained` the trained ones; `weight_bytes` is the size of the weights as held,
    `state_bytes` that of one number of a hidden state. `layer_bytes` are the activation bytes that one layer saves for
    backward per token, `layer_fixed` those that do not depend on the tokens (copies of weights in another precision).
    """

    parameters: int
    trained: int
    weight_bytes: int
    hidden: int
    layers: int
    state_bytes: int
    layer_bytes: float
    layer_fixed: float


def find_config_folder(recipe: Recipe) -> Path | None:
    """Return a folder with the model's configuration: the local checkpoint's (of LoRA weights, their base's), else the
    packaged one; None if there is none.
    """
    model = recipe.model
    if model.path is not None and model.revision is None and (local := expand_user(model.path)).is_dir():
        stated = read_adapter(local)
        if stated is None:
            return local
        base = expand_user(str(stated.get("base_model_name_or_path")))
        if base.is_dir():
            return base
    packaged = SHAPES / (model.shape or "-")
    return packaged if packaged.is_dir() else None


def measure_size(recipe: Recipe) -> ModelSize:
    """Return the size of the recipe's model. Downloads nothing and reads no weights.

    Raises TrainingError if the model's configuration is not available.
    """
    folder = find_config_folder(recipe)
    if folder is None:
        raise TrainingError(
            f"{recipe.model.name} is not on this disk, and model.shape names none of the shapes that ship: "
            + ", ".join(sorted(path.name for path in SHAPES.iterdir()))
        )
    config = load_config(folder)
    with torch.device("meta"):
        learner = make_empty_learner(recipe, config)
    weights = list(learner.parameters())
    # What one layer more saves, for a short and a long row, gives the cost per token and the constant.
    (one_few, one_many), (two_few, two_many) = (_measure_layers(recipe, config, layers) for layers in (1, 2))
    few, many = two_few - one_few, two_many - one_many
    slope = (many - few) / (PROBES[1] - PROBES[0])
    text = config.get_text_config()
    return ModelSize(
        parameters=sum(values.numel() for values in weights),
        trained=sum(values.numel() for _, values in learner.list_trained()),
        weight_bytes=_count_weight_bytes(recipe, learner),
        hidden=text.hidden_size,
        layers=text.num_hidden_layers,
        state_bytes=2 if recipe.memory.precision == "bf16" else 4,
        layer_bytes=slope,
        layer_fixed=max(0.0, few - PROBES[0] * slope),
    )


def _count_weight_bytes(recipe: Recipe, learner: Learner) -> int:
    if recipe.tuning.method != "qlora":
        return sum(values.nbytes for values in learner.parameters())
    inside = re.compile(r"^(?!.*\.visual\.).*\.layers\..*base_layer\.weight$")
    return sum(
        round(values.numel() * FOUR_BITS / 8) if inside.match(name) else values.nbytes
        for name, values in learner.named_parameters()
    )


def load_config(folder: Path) -> Any:
    """Load the transformers configuration in a folder."""
    from transformers import AutoConfig

    content = read_config(folder)
    return AutoConfig.for_model(content.pop("model_type"), **content)


def make_empty_learner(recipe: Recipe, config: Any) -> Learner:
    """Build a learner from a configuration, with torch's initial weights and label rows of the right width."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText

    loader: Any = AutoModelForImageTextToText if hasattr(config, "vision_config") else AutoModelForCausalLM
    if is_encoder(config):
        loader = AutoModel
    precise = recipe.memory.precision == "fp32" or recipe.tuning.method == "full"
    model = loader.from_config(config, dtype=torch.float32 if precise else torch.bfloat16)
    if is_encoder(config):
        drop_dropout(model)
    width = config.get_text_config().hidden_size
    count = max(1, len(recipe.rows.yes)), max(1, len(recipe.rows.no))
    learns = recipe.rows.trainable or recipe.rows.start == "random"
    rows = LabelRows(torch.zeros(count[0], width), torch.zeros(count[1], width), trainable=learns)
    return apply_tuning(recipe, model, rows)


def cut_config(config: Any, layers: int, vocabulary: int | None = None) -> Any:
    """Return the configuration with fewer layers, in text and vision, and, if given, a smaller vocabulary."""
    small = copy.deepcopy(config)
    text = small.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    if vocabulary is not None:
        text.vocab_size = vocabulary
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            if getattr(text, name, None) is not None:
                setattr(text, name, 0)
    if hasattr(small, "vision_config"):
        small.vision_config.depth = layers
        if hasattr(small.vision_config, "fullatt_block_indexes"):
            small.vision_config.fullatt_block_indexes = [layers - 1]
    return small


def _measure_layers(recipe: Recipe, config: Any, layers: int) -> list[int]:
    """Return the bytes that so many layers save for backward, for each of PROBES, without gradient checkpointing."""
    plain = recipe.model_copy(update={"memory": recipe.memory.model_copy(update={"gradient_checkpointing": False})})
    with torch.device("meta"):
        learner = make_empty_learner(plain, cut_config(config, layers, _FEW))
    learner = learner.to_empty(device="cpu").train()
    for values in learner.parameters():
        nn.init.zeros_(values)
    return [measure_saved(learner, tokens, recipe.memory.precision == "bf16") for tokens in PROBES]


def measure_saved(learner: Learner, tokens: int, half: bool) -> int:
    """Return the bytes that one row of so many tokens saves for backward on the CPU, weights not counted."""
    row = Row(np.zeros(tokens, np.int64), (), np.tile(np.arange(tokens), (3, 1)))
    weights = {values.untyped_storage().data_ptr() for values in learner.parameters()}
    saved: dict[int, torch.UntypedStorage] = {}  # by address; a storage that is held keeps its address

    def pack(values: torch.Tensor) -> torch.Tensor:
        saved[values.untyped_storage().data_ptr()] = values.untyped_storage()
        return values

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda values: values)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=half):
        learner([row], {})
    return sum(storage.nbytes() for place, storage in saved.items() if place not in weights)
