"""The model to train, built by a recipe: a checkpoint with frozen parts, trained parts, and label rows."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mrb.engine import checkpoint
from mrb.engine.backbone import Row
from mrb.engine.head import ROWS_FILE, read_label_rows
from mrb.engine.lora import attach_adapter, find_base, merge_adapter, read_adapter
from mrb.engine.prompt import resolve_label_ids
from mrb.engine.prompt_template import PromptTemplate
from mrb.engine.published_prompts import LAYOUTS
from mrb.engine.vision import Features
from mrb.errors import TrainingError
from mrb.training import encoder
from mrb.training.encoder import is_encoder, make_backbone
from mrb.training.losses import LabelRows
from mrb.training.recipe import LANGUAGE_MODEL, Recipe, Tuning

_SCORE = {"cl": "positive", "sft": "difference"}


class Learner(nn.Module):
    """A language model, with or without LoRA, and the label rows.

    Called with rows of tokens and their images' features, it returns the logits z_yes and z_no, float32[rows] each, at
    each row's last token. Logits over the whole vocabulary are never computed.
    """

    def __init__(self, model: Any, rows: LabelRows) -> None:
        super().__init__()
        self.model = model
        self.rows = rows

    @property
    def base(self) -> Any:
        """The transformers model; its layers contain the LoRA weights, if there are any."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def has_lora(self) -> bool:
        """Whether the model has LoRA weights."""
        return self.base is not self.model

    @property
    def tower(self) -> nn.Module | None:
        """The vision tower with its projector, None if there is none."""
        found: nn.Module | None = getattr(getattr(self.base, "model", None), "visual", None)
        return found

    def forward(self, rows: Sequence[Row], features: Mapping[str, Features]) -> tuple[Tensor, Tensor]:
        """Return z_yes and z_no of each row."""
        hidden = make_backbone(self.base).forward(rows, features)
        yes, no = self.rows(hidden)
        return yes, no

    def list_trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Return (name, parameter) of the trained parameters."""
        return ((name, values) for name, values in self.named_parameters() if values.requires_grad)


@dataclass(frozen=True)
class Start:
    """The checkpoint that training starts from: folder, tokenizer and prompt template.

    `given` is the folder that the recipe names: `folder` itself, or one with LoRA weights on it.
    """

    folder: Path
    tokenizer: Any
    layout: PromptTemplate
    given: Path

    @property
    def lora(self) -> dict[str, Any] | None:
        """The adapter_config.json of the LoRA weights that training starts from, if there are any."""
        return read_adapter(self.given)


def silence_libraries() -> None:
    """Turn off the libraries' progress bars and advice on standard error."""
    checkpoint.silence_transformers()
    # Deprecations inside transformers and accelerate do not concern the user.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|accelerate)\.")


def find_layout(recipe: Recipe) -> PromptTemplate:
    """Return the recipe's prompt template.

    Raises TrainingError if there is none of that name, or if it ranks by another score than the loss trains.
    """
    known = {layout.name: layout for layout in (*LAYOUTS, *encoder.LAYOUTS)}
    layout = known.get(recipe.model.layout)
    if layout is None:
        raise TrainingError(f"model.layout {recipe.model.layout!r}: wanted one of {', '.join(sorted(known))}")
    wanted = _SCORE[recipe.loss.along]
    if layout.score != wanted:
        fitting = [name for name, other in known.items() if other.score == wanted and other.labels == layout.labels]
        raise TrainingError(
            f"model.layout {layout.name} ranks by its {layout.score} logit, the loss trains the {wanted}; such layouts "
            f"are: {', '.join(sorted(fitting))}"
        )
    return layout


def find_start(recipe: Recipe, made: Path | None = None) -> Start:
    """Return the recipe's checkpoint, downloaded if it is on the Hub; `made` is the folder of a random start.

    Raises TrainingError or AdapterError if it is not available.
    """
    layout = find_layout(recipe)
    folder = made
    if folder is None:
        assert recipe.model.path is not None  # a recipe without a path has a random start
        folder = checkpoint.resolve_checkpoint(
            recipe.model.path, recipe.model.revision, option="model.revision", name="model.path"
        )
    stated = read_adapter(folder)
    base = folder if stated is None else find_base(folder, stated, None, None)
    if is_encoder(checkpoint.read_config(base)) != (layout in encoder.LAYOUTS):
        fitting = ", ".join(one.name for one in encoder.LAYOUTS)
        raise TrainingError(
            f"{base}: model.layout is {layout.name}; the layouts {fitting} are for encoders, and only for them"
        )
    if recipe.tuning.method == "qlora" and layout in encoder.LAYOUTS:
        raise TrainingError(f"{base}: is an encoder; tuning.method 'qlora' is for language models")
    return Start(base, checkpoint.load_tokenizer(base), layout, folder)


def build_learner(recipe: Recipe, start: Start) -> Learner:
    """Load the checkpoint as the recipe trains it, on the CPU."""
    precise = recipe.memory.precision == "fp32" or recipe.tuning.method == "full"
    dtype, attention = torch.float32 if precise else torch.bfloat16, recipe.model.attention
    if start.layout in encoder.LAYOUTS:
        length = recipe.model.max_length
        model = encoder.load_encoder(start.folder, start.tokenizer, length, dtype=dtype, attention=attention)
    else:
        loader, bits = checkpoint.get_loader(start.folder), None
        if recipe.tuning.method == "qlora":
            bits = make_four_bits(dtype)
        model = checkpoint.load_model(start.folder, loader, dtype=dtype, attention=attention, quantization=bits)
    stated = start.lora
    if stated is not None and recipe.tuning.method == "full":
        model = merge_adapter(model, start.given, stated)
    return apply_tuning(recipe, model, make_label_rows(recipe, model, start), start.given)


def make_four_bits(dtype: torch.dtype) -> Any:
    """Return how QLoRA (https://arxiv.org/abs/2305.14314) holds the linear layers of a language model.

    In NF4 with double quantisation, multiplied in `dtype`; vision tower and head stay as they are. Raises AdapterError
    without bitsandbytes.
    """
    checkpoint.require("tuning.method 'qlora'", "bitsandbytes", extra="qlora")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=["model.visual", "lm_head"],
    )


def apply_tuning(recipe: Recipe, model: Any, rows: LabelRows, given: Path | None = None) -> Learner:
    """Make a learner of `model` and label rows: freeze, add LoRA and mark what the recipe trains.

    The LoRA weights are those in the folder `given`, if it holds any. Raises TrainingError if model and recipe do not
    fit.
    """
    model.requires_grad_(False)
    if recipe.loss.along == "cl":  # this loss does not depend on it
        rows.no.requires_grad_(False)
    learner = Learner(
        _unfreeze(recipe.tuning, model) if recipe.tuning.method == "full" else _add_lora(recipe.tuning, model, given),
        rows,
    )
    if recipe.tuning.vision == "trained":
        if learner.tower is None:
            raise TrainingError("tuning.vision is 'trained', but the model has no vision tower")
        learner.tower.float().requires_grad_(True)
    elif learner.tower is not None and recipe.memory.precision == "bf16":
        learner.tower.bfloat16()  # with method "full" the rest is loaded in float32
    if recipe.memory.gradient_checkpointing:
        # Reentrant checkpointing gives no gradients behind frozen embeddings, except with hooks that make the
        # embeddings' output require grad. Enabling installs these hooks in any case; they would make a frozen vision
        # tower save activations.
        learner.base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        learner.base.disable_input_require_grads()
    if not recipe.loss.pointwise:
        _refuse_dropout(learner)
    return learner


def make_label_rows(recipe: Recipe, model: Any, start: Start) -> LabelRows:
    """Return the label rows of a recipe: those beside the weights that it starts from are taken if it states none."""
    settings = recipe.rows
    if settings.start == "head" and not settings.yes and (start.given / ROWS_FILE).is_file():
        return LabelRows(*read_label_rows(start.given / ROWS_FILE), trainable=settings.trainable)
    head = model.get_input_embeddings() if is_encoder(model.config) else model.get_output_embeddings()
    if head is None:
        raise TrainingError(f"{type(model).__name__} has no language model head to take label rows from")
    weight: Tensor = head.weight
    if settings.start == "random":
        return LabelRows.random(weight.shape[1], recipe.schedule.seed)
    yes, no = find_label_ids(recipe, start)
    if is_encoder(model.config) and not len(yes) == len(no) == 1:
        raise TrainingError("rows.yes and rows.no: an encoder has one token per label, as it is saved with one row")
    return LabelRows.from_head(weight, yes, no, trainable=settings.trainable)


def find_label_ids(recipe: Recipe, start: Start) -> tuple[list[int], list[int]]:
    """Return the ids of the recipe's label tokens. Raises TrainingError if a label token is not a single token."""
    if not recipe.rows.yes:
        positive, negative = resolve_label_ids(start.tokenizer, start.layout)
        if negative is None:
            raise TrainingError(f"layout {start.layout.name} has one label, training needs two")
        return [positive], [negative]

    def ids(tokens: Sequence[str]) -> list[int]:
        found = [start.tokenizer(token, add_special_tokens=False)["input_ids"] for token in tokens]
        for token, own in zip(tokens, found, strict=True):
            if len(own) != 1 or own[0] == start.tokenizer.unk_token_id:
                raise TrainingError(f"label token {token!r} is {len(own)} tokens of this tokenizer: wanted one")
        return [int(own[0]) for own in found]

    return ids(recipe.rows.yes), ids(recipe.rows.no)


def _add_lora(tuning: Tuning, model: Any, given: Path | None) -> Any:
    from peft import LoraConfig, get_peft_model

    targets = tuning.targets
    if is_encoder(model.config) and targets == LANGUAGE_MODEL:
        targets = encoder.LAYERS
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    try:
        matched = [name for name in names if re.fullmatch(targets, name)]
    except re.error as error:
        raise TrainingError(f"tuning.targets is not a regular expression: {error}") from error
    if not matched:
        raise TrainingError(
            f"tuning.targets matches none of the model's {len(names)} linear layers, such as {names[0]}"
        )
    inside = [name for name in matched if "visual" in name.split(".")]
    if inside:
        raise TrainingError(f"tuning.targets matches the vision tower ({inside[0]}): anchor it on the language model")
    config = LoraConfig(
        r=tuning.rank,
        lora_alpha=tuning.alpha,  # type: ignore[arg-type]  # a float is fine: it is only divided
        lora_dropout=tuning.dropout,
        target_modules=targets,
        bias="none",
    )
    stated = None if given is None else read_adapter(given)
    if given is None or stated is None:
        return get_peft_model(model, config)
    _refuse_other_lora(given, stated, config)
    tuned = attach_adapter(model, given, stated, config)
    covered = {name for name, module in model.named_modules() if hasattr(module, "lora_A")}
    if odd := sorted(covered ^ set(matched)):
        raise TrainingError(f"{given}: its LoRA weights and tuning.targets differ in {odd[0]}")
    return tuned


_LORA_SETTINGS = {"r": "tuning.rank", "lora_alpha": "tuning.alpha"}
_NOT_COMPARED = {"base_model_name_or_path", "revision", "inference_mode", "lora_dropout", "peft_version"}
_NOT_COMPARED |= {"target_modules", "task_type", "auto_mapping"}


def _refuse_other_lora(given: Path, stated: Mapping[str, Any], config: Any) -> None:
    """Refuse LoRA weights with other settings than the recipe's, except the targets, which are compared by module."""
    own = config.to_dict()
    for name in sorted(own.keys() & stated.keys() - _NOT_COMPARED):
        if (stated[name] or None) != (own[name] or None):
            setting = _LORA_SETTINGS.get(name)
            todo = f"{setting} is {own[name]}" if setting else "training knows no such setting"
            raise TrainingError(f"{given}: its LoRA weights have {name} {stated[name]!r}, but {todo}")


def _unfreeze(tuning: Tuning, model: Any) -> Any:
    if is_encoder(model.config):
        return encoder.unfreeze_encoder(model, tuning.embeddings == "trained")
    decoder = getattr(model.model, "language_model", model.model)
    for name, values in decoder.named_parameters():
        values.requires_grad_(tuning.embeddings == "trained" or not name.startswith("embed_tokens."))
    return model


def _refuse_dropout(learner: Learner) -> None:
    """Refuse dropout: the two passes of gradient caching must compute the same."""
    active = [name for name, module in learner.named_modules() if isinstance(module, nn.Dropout) and module.p > 0]
    config = learner.base.config.get_text_config()
    if getattr(config, "attention_dropout", 0):
        active.append("attention_dropout")
    if active:
        raise TrainingError(f"this loss needs two passes that compute the same, but the model has dropout: {active[0]}")


def describe_trained(learner: Learner) -> str:
    """Return a readable summary of what is trained: parameter counts, and modules by their last name."""
    total = sum(_count_numbers(values) for values in learner.parameters())
    trained = dict(learner.list_trained())
    count = sum(values.numel() for values in trained.values())
    lines = [f"trained: {count:,} of {total:,} parameters ({100 * count / total:.2f} %)"]
    for part, words in _PARTS.items():
        own = [name for name in trained if _part(name) == part]
        if own:
            kinds = Counter(name.removesuffix(".default.weight").split(".")[-2] for name in own)
            shown = ", ".join(f"{kind} {number}" for kind, number in sorted(kinds.items()))
            lines.append(f"  {words}: {sum(trained[name].numel() for name in own):,} in {len(own)} tensors ({shown})")
    return "\n".join(lines)


def _count_numbers(values: nn.Parameter) -> int:
    state = getattr(values, "quant_state", None)  # of weights in 4 bits, two of which are in one byte
    return values.numel() if state is None else int(torch.Size(state.shape).numel())


_PARTS = {"tower": "vision tower", "lora": "LoRA in the language model", "text": "language model", "rows": "label rows"}


def _part(name: str) -> str:
    if name.startswith("rows."):
        return "rows"
    if ".visual." in name:
        return "tower"
    return "lora" if ".lora_" in name else "text"
