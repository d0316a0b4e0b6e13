"""Recipes: TOML files that say what is trained, on what data and how. Unknown keys are refused.

`mrb.training.recipe_content` reads the files. `paper` names the settings that a
paper states; all others are this package's own choices, and are shown as such.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from mrb._util.hashing import hash_json
from mrb._util.model import Model
from mrb.data.task_fields import Slug
from mrb.errors import TrainingError, format_first_problem
from mrb.training.data.group import Sampling
from mrb.training.recipe_content import RECIPES, apply_change, load_content

UNHASHED: Any = {
    "memory": {"workers"},
    "data": {"on_error", "max_skipped"},
    "evaluation": {"at_start", "keep_best"},
    "output": {"merge"},
}
"""Settings that change neither data nor weights of a run in which no group is skipped."""
LANGUAGE_MODEL = r"(.*\.)?(language_model|model)\.layers\.\d+\.(self_attn|mlp)\.(q|k|v|o|gate|up|down)_proj"
"""The linear layers of the language model, in a vision-language model or alone. A bare list of names would also match
the vision tower of Qwen2.5-VL, whose layers are called `blocks`.
"""


class ModelSettings(Model):
    """The model to start from: a folder, or a Hub repository at a commit, with a whole checkpoint or LoRA weights.

    `shape` names a packaged configuration of the model, for estimates before it is downloaded; `layout` is a prompt
    template of the adapter `yes-no`. `vocabulary` replaces `path`: random weights of `shape`, and a tokenizer of at
    most so many tokens trained on the groups.
    """

    path: str | None = None
    vocabulary: int | None = Field(default=None, ge=300, le=100_000)
    revision: str | None = None
    shape: str | None = None
    layout: str = "gmr"
    max_length: int = Field(default=3200, ge=16)
    min_pixels: int = Field(default=4 * 28 * 28, ge=1)
    max_pixels: int = Field(default=1280 * 28 * 28, ge=1)
    attention: str | None = None

    @property
    def name(self) -> str:
        """The model to start from, for display."""
        return f"random weights of the shape {self.shape}" if self.path is None else self.path

    @model_validator(mode="after")
    def _fits(self) -> ModelSettings:
        if (self.path is None) == (self.vocabulary is None):
            raise ValueError("give a path, or a vocabulary for a random start, one of the two")
        if self.vocabulary is not None and self.shape is None:
            raise ValueError("a random start needs a shape")
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} is over max_pixels {self.max_pixels}")
        return self


class Tuning(Model):
    """What is trained.

    `method` `lora`: LoRA on the modules whose full name matches `targets`. `qlora`: the same on a language model whose
    linear layers are held in 4 bits. `full`: the language model's weights, and
    its input embeddings if `embeddings` is `trained`. `vision`: the whole vision tower with its projector.
    """

    method: Literal["lora", "qlora", "full"] = "lora"
    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)
    dropout: float = Field(default=0, ge=0, lt=1)
    targets: str = LANGUAGE_MODEL
    vision: Literal["frozen", "trained"] = "frozen"
    embeddings: Literal["frozen", "trained"] = "frozen"

    @model_validator(mode="after")
    def _fits(self) -> Tuning:
        if self.method != "full" and self.embeddings == "trained":
            raise ValueError("embeddings are trained with method 'full' only")
        return self


class RowSettings(Model):
    """The label rows: copies of the head's rows of the tokens `yes` and `no` (default: the template's labels), or
    random rows.

    Random rows are always trained. `trainable` copies are trained separately from the head.
    """

    start: Literal["head", "random"] = "head"
    trainable: bool = False
    yes: tuple[str, ...] = ()
    no: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> RowSettings:
        if bool(self.yes) != bool(self.no):
            raise ValueError("give tokens for both labels, or for none")
        if self.start == "random" and self.yes:
            raise ValueError("random rows have no tokens")
        return self


class LossSettings(Model):
    """The loss, see docs/losses.md: `weight`, `direction` and `tau` belong to `unified`, `target` to `listwise`."""

    name: Literal["supervised", "contrastive", "unified", "listwise"] = "supervised"
    weight: Literal["cl", "cl-scaled", "sft", "base", "masked"] | None = None
    direction: Literal["cl", "sft"] | None = None
    tau: float | None = Field(default=None, ge=0, lt=1)
    temperature: float = Field(default=1, gt=0)
    reduction: Literal["sum", "mean"] = "sum"
    positive_weight: float = Field(default=1, gt=0)
    target: Literal["teacher", "grades"] | None = None

    @model_validator(mode="after")
    def _fits(self) -> LossSettings:
        given = self.weight is not None, self.direction is not None
        if given != ((True, True) if self.name == "unified" else (False, False)):
            raise ValueError("weight and direction are given with the loss 'unified', both, and with no other")
        if (self.tau is None) == (self.weight == "masked"):
            raise ValueError("tau is given with the weight 'masked', and with no other")
        if (self.target is None) == (self.name == "listwise"):
            raise ValueError("target is given with the loss 'listwise', and with no other")
        whole = self.name in ("contrastive", "listwise")
        if whole and (self.reduction != "sum" or self.positive_weight != 1):
            raise ValueError(f"the loss '{self.name}' has neither reduction nor positive_weight")
        if self.temperature != 1 and not whole and self.weight != "cl":
            raise ValueError("this loss has no temperature")
        return self

    @property
    def along(self) -> Literal["cl", "sft"]:
        """The score that the loss trains and the model ranks by: `cl` is z_yes, `sft` is z_yes - z_no."""
        if self.direction is not None:
            return self.direction
        return "cl" if self.name == "contrastive" else "sft"

    @property
    def pointwise(self) -> bool:
        """Whether a document's term is independent of the other documents of its query."""
        return self.name == "supervised" or (self.name == "unified" and self.weight not in ("cl", "cl-scaled"))


class DataTask(Model):
    """A task that groups are built from. `first_stage` retrieves its hard negatives (default: the task's own).

    `derived` names a generator of other data from the task (entry points `mrb.derived_data`), with `copies` of each
    query.
    """

    task: Slug
    first_stage: str | None = None
    derived: str | None = None
    copies: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> DataTask:
        if self.derived is None and self.copies != 1:
            raise ValueError("copies are made of derived data only")
        return self


class DataSettings(Model):
    """The training data.

    `groups` are files written by `mrb train data`, or others of that form. `tasks` are built on first use, with hard
    negatives down to rank `depth` and `random` random negatives, and kept in MRB's cache. A group that cannot be
    trained on ends the run (`on_error` `stop`), or is left out if the check found it, else replaced by the next of its
    source (`skip`), at most `max_skipped` of each in a run.
    """

    groups: tuple[str, ...] = ()
    tasks: tuple[DataTask, ...] = ()
    depth: int = Field(default=100, ge=0)
    random: int = Field(default=32, ge=0)
    on_error: Literal["stop", "skip"] = "stop"
    max_skipped: int = Field(default=100, ge=1)

    @property
    def skips(self) -> int:
        """How many groups may be skipped."""
        return self.max_skipped if self.on_error == "skip" else 0

    @model_validator(mode="after")
    def _some(self) -> DataSettings:
        if not self.groups and not self.tasks:
            raise ValueError("give groups or tasks")
        return self


class Schedule(Model):
    """Length and optimiser (AdamW): `queries` groups per step over all processes, for `steps` steps.

    Without `steps`, `epochs` over the groups decide. `warmup` is a fraction of the steps.
    """

    queries: int = Field(default=64, ge=1)
    steps: int | None = Field(default=None, ge=1)
    epochs: float = Field(default=1, gt=0)
    learning_rate: float = Field(default=1e-4, gt=0)
    decay: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = Field(default=0.06, ge=0, le=1)
    weight_decay: float = Field(default=0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = Field(default=1e-8, gt=0)
    clip: float = Field(default=1, ge=0)
    seed: int = Field(default=0, ge=0)


class Memory(Model):
    """What one process holds at a time: micro-batches of `queries` groups.

    Their documents go through the model in chunks of at most `chunk_tokens` (rows x longest row). With `share_prefix`,
    the tokens before the documents of a query are computed once per chunk and count once. `image_cache_mb` bounds the
    cached features of a frozen vision tower. `workers` further processes read groups and make their prompts ahead of
    the model; unless it is stated, 2 on a GPU and none on a CPU.
    """

    precision: Literal["bf16", "fp32"] = "bf16"
    queries: int = Field(default=1, ge=1)
    chunk_tokens: int = Field(default=16384, ge=1)
    share_prefix: bool = False
    gradient_checkpointing: bool = True
    image_cache_mb: int = Field(default=256, ge=0)
    workers: int | None = Field(default=None, ge=0)


class Evaluation(Model):
    """Development tasks, scored every `every` steps (0: only at the end) on their own candidate lists.

    `at_start` scores the model before the first step, too. `keep_best` keeps the model with the best mean over tasks.
    Training stops when that mean has not grown in the last `patience` of the evaluations.
    """

    tasks: tuple[Slug, ...] = ()
    every: int = Field(default=0, ge=0)
    depth: int = Field(default=25, ge=1)
    limit: int | None = Field(default=None, ge=1)
    at_start: bool = False
    keep_best: bool = False
    patience: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> Evaluation:
        for name, given in (("keep_best", self.keep_best), ("patience", self.patience)):
            if given and not (self.tasks and self.every):
                raise ValueError(f"{name} needs tasks, and every")
        return self


class Output(Model):
    """A checkpoint every `save_every` steps (0: only at the end), of which the last `keep` stay; a log line every
    `log_every`.

    `report_to` also logs to tensorboard or wandb, if installed. With `merge` the saved model is a whole one, with the
    LoRA weights added to its base; checkpoints are not.
    """

    save_every: int = Field(default=500, ge=0)
    keep: int = Field(default=2, ge=1)
    log_every: int = Field(default=10, ge=1)
    report_to: tuple[Literal["tensorboard", "wandb"], ...] = ()
    merge: bool = False


class Recipe(Model):
    """Every setting of a training run. `paper` lists settings as `section.name`."""

    schema_version: Literal[1]
    title: str = Field(max_length=120)
    paper: tuple[str, ...] = ()
    model: ModelSettings
    tuning: Tuning = Tuning()
    rows: RowSettings = RowSettings()
    loss: LossSettings = LossSettings()
    data: DataSettings
    sampling: Sampling = Sampling()
    schedule: Schedule = Schedule()
    memory: Memory = Memory()
    evaluation: Evaluation = Evaluation()
    output: Output = Output()

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.tuning.dropout and not self.loss.pointwise:
            raise ValueError("this loss needs two passes that compute the same: tuning.dropout must be 0")
        if self.output.merge and self.tuning.method != "lora":
            raise ValueError("output.merge is for LoRA weights: tuning.method must be 'lora'")
        if self.schedule.queries % self.memory.queries:
            raise ValueError(
                f"schedule.queries {self.schedule.queries} is not a multiple of memory.queries {self.memory.queries}"
            )
        known = dict(list_settings(self))
        unknown = [name for name in self.paper if name not in known]
        if unknown:
            raise ValueError(f"paper names {unknown[0]!r}, which is not a setting")
        return self


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe with its name and the settings that the user changed."""

    name: str
    recipe: Recipe
    changed: tuple[str, ...]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of all settings but `UNHASHED`."""
        fields = self.recipe.model_dump(mode="json", exclude=UNHASHED)
        # So that recipes from before there were these settings keep their hash.
        if not self.recipe.sampling.weights:
            del fields["sampling"]["weights"]
        if self.recipe.loss.target is None:
            del fields["loss"]["target"]
        if self.recipe.evaluation.patience is None:
            del fields["evaluation"]["patience"]
        if not self.recipe.memory.share_prefix:
            del fields["memory"]["share_prefix"]
        return hash_json(fields)

    def find_origin(self, setting: str) -> Literal["paper", "ours", "changed"]:
        """Return who chose a setting: the paper, this package, or the user."""
        if setting in self.changed:
            return "changed"
        return "paper" if setting in self.recipe.paper else "ours"


def list_settings(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Yield (section.name, value) of every setting, in the recipe's order."""
    for section, value in recipe:
        if isinstance(value, Model):
            for name, own in value:
                yield f"{section}.{name}", own


def format_settings(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield (section.name, text) of every setting; of tasks to build data from, only their ids."""
    for name, value in list_settings(recipe):
        yield name, ", ".join(task.task for task in value) if name == "data.tasks" else str(value)


def list_recipes() -> list[str]:
    """Return the names of the packaged recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(name: str, changes: Sequence[str] = ()) -> LoadedRecipe:
    """Load a recipe.

    Args:
        name: A file (ends in .toml), or the name of a packaged recipe.
        changes: Settings to replace, as `section.name=value`.

    Raises:
        TrainingError: Names the file and the first wrong setting.
    """
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file():
        raise TrainingError(
            f"no recipe {name!r}: give a .toml file or one of {', '.join(list_recipes())}, or a command: check, data "
            "or sweep"
        )
    content = load_content(path)
    changed = [apply_change(content, change) for change in changes]
    try:
        return LoadedRecipe(path.stem, Recipe.model_validate(content), tuple(changed))
    except ValidationError as error:
        raise TrainingError(f"recipe {path}: {format_first_problem(error)}") from error
