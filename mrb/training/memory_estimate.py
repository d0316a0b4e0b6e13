"""The model of a recipe without its weights: counted, and one layer of it measured, for estimates."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mrb._util.home import expand_user
from mrb.engine.backbone import Row
from mrb.engine.checkpoint import read_config
from mrb.errors import TrainingError
from mrb.training.losses import LabelRows
from mrb.training.model import Learner, tuned
from mrb.training.recipe import Recipe, recipe_folder

PROBES = (8, 24)
"""Tokens of the two rows that a layer is measured with: what grows with them is told from what does not."""
_FEW = 512
"""Vocabulary of the measured layer: its embeddings are not what is measured."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a recipe's model: parameters in all and learning, bytes of weights as they are held, hidden size,
    layers, bytes of a hidden state; bytes that one layer keeps for the way back, of each token and beside them (copies
    of weights in another precision)."""

    parameters: int
    trained: int
    weight_bytes: int
    hidden: int
    layers: int
    state_bytes: int
    layer_bytes: float
    layer_fixed: float


def shape_folder(recipe: Recipe) -> Path | None:
    """A folder with the model's configuration: the checkpoint's if it is on this disk, else the one that ships."""
    model = recipe.model
    if model.path is not None and model.revision is None and (local := expand_user(model.path)).is_dir():
        return local
    shipped = recipe_folder() / "shapes" / (recipe.model.shape or "-")
    return shipped if shipped.is_dir() else None


def measure(recipe: Recipe) -> Shape:
    """The shape of the recipe's model; nothing is fetched and no weight is read. TrainingError without a shape."""
    folder = shape_folder(recipe)
    if folder is None:
        raise TrainingError(
            f"{recipe.model.name} is not on this disk, and model.shape names none of the shapes that ship: "
            + ", ".join(sorted(path.name for path in (recipe_folder() / "shapes").iterdir()))
        )
    config = load_config(folder)
    with torch.device("meta"):
        learner = empty_learner(recipe, config)
    text = config.get_text_config()
    seen = {id(values): values for values in learner.parameters()}
    one, two = (_kept_bytes(recipe, config, layers) for layers in (1, 2))
    few, many = (two[tokens] - one[tokens] for tokens in PROBES)
    slope = (many - few) / (PROBES[1] - PROBES[0])
    return Shape(
        parameters=sum(values.numel() for values in seen.values()),
        trained=sum(values.numel() for _, values in learner.trained()),
        weight_bytes=sum(values.numel() * values.element_size() for values in seen.values()),
        hidden=text.hidden_size,
        layers=text.num_hidden_layers,
        state_bytes=2 if recipe.memory.precision == "bf16" else 4,
        layer_bytes=slope,
        layer_fixed=max(0.0, few - PROBES[0] * slope),
    )


def load_config(folder: Path) -> Any:
    """The configuration in a folder."""
    from transformers import AutoConfig

    content = read_config(folder)
    return AutoConfig.for_model(content.pop("model_type"), **content)


def empty_learner(recipe: Recipe, config: Any, dtype: torch.dtype | None = None) -> Learner:
    """A learner of a configuration, its weights as torch leaves or draws them; label rows of the right width."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    loader: Any = AutoModelForImageTextToText if hasattr(config, "vision_config") else AutoModelForCausalLM
    precise = recipe.memory.precision == "fp32" or recipe.tuning.method == "full"
    model = loader.from_config(config, dtype=dtype or (torch.float32 if precise else torch.bfloat16))
    width = config.get_text_config().hidden_size
    count = max(1, len(recipe.rows.yes)), max(1, len(recipe.rows.no))
    learns = recipe.rows.trainable or recipe.rows.start == "random"
    rows = LabelRows(torch.zeros(count[0], width), torch.zeros(count[1], width), trainable=learns)
    return tuned(recipe, model, rows)


def cut_config(config: Any, layers: int, vocabulary: int | None = None) -> Any:
    """The configuration with fewer layers, in text and vision, and if asked a smaller vocabulary."""
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


def _kept_bytes(recipe: Recipe, config: Any, layers: int) -> dict[int, int]:
    """Bytes that so many layers keep for the way back, by the number of tokens, without gradient checkpointing."""
    plain = recipe.model_copy(update={"memory": recipe.memory.model_copy(update={"gradient_checkpointing": False})})
    with torch.device("meta"):
        learner = empty_learner(plain, cut_config(config, layers, _FEW))
    learner = learner.to_empty(device="cpu").train()
    for values in learner.parameters():
        nn.init.zeros_(values)
    return {tokens: kept_bytes(learner, tokens, recipe.memory.precision == "bf16") for tokens in PROBES}


def kept_bytes(learner: Learner, tokens: int, half: bool) -> int:
    """Bytes that one row of so many tokens keeps for the way back, weights not counted; on the CPU."""
    row = Row(np.zeros(tokens, np.int64), (), np.tile(np.arange(tokens), (3, 1)))
    weights = {values.untyped_storage().data_ptr() for values in learner.parameters()}
    with kept_storages() as kept, torch.autocast("cpu", torch.bfloat16, enabled=half):
        learner([row], {})
    return sum(size for place, size in kept.items() if place not in weights)


@contextmanager
def kept_storages() -> Iterator[dict[int, int]]:
    """Inside, gathers what autograd keeps for the way back: storage -> bytes, each storage once."""
    kept: dict[int, int] = {}
    held: list[torch.Tensor] = []

    def pack(values: torch.Tensor) -> torch.Tensor:
        storage = values.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        held.append(values)  # a freed storage's place could be taken by another
        return values

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda values: values):
        yield kept
