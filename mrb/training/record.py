"""Record of a training run: what was trained, on what data, checked against which test data, and its results."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from mrb import __version__
from mrb._util.files import read_json, write_json
from mrb._util.model import Model
from mrb._util.redact import redact
from mrb.data.task_fields import Sha256
from mrb.errors import TrainingError, format_first_problem
from mrb.evaluation import environment
from mrb.training.data.prepare import Contamination, LeftOut, Prepared, SourceRecord
from mrb.training.recipe import LoadedRecipe, Recipe

RECORD_FILE = "training.json"
_MEMORY = {"queries", "chunk_tokens", "share_prefix", "gradient_checkpointing", "image_cache_mb", "workers"}
_ON_ERROR = {"on_error", "max_skipped"}
_MAY_CHANGE: Any = {
    "output": True,
    "evaluation": True,
    "title": True,
    "paper": True,
    "memory": _MEMORY,
    "data": _ON_ERROR,
}
"""What affects neither data nor gradients (except by rounding): a run may be resumed with other values."""


class DevRecord(Model):
    """A development task's result at the end of training: means as fractions, with a 95 % interval."""

    task: str
    measure: str
    value: float
    low: float
    high: float
    first_stage: float
    oracle: float


class TrainingRecord(Model):
    """training.json in the run's folder, written at the start. When the run is finished, these are added: `skipped`
    groups that could not be trained on, each visit counted; of the `documents` in log.csv, those whose prompts were
    `cut` to the maximum length and those whose text was cut to nothing (`emptied`); `results`, the `best_step`
    whose model was kept apart, and the `stopped_step` after which a run ended before its `steps`.

    `recipe` holds every setting and lists in `paper` those that a paper states; `changed` names those that the user
    set.
    """

    schema_version: Literal[1] = 1
    mrb_version: str
    name: str
    recipe: Recipe
    changed: tuple[str, ...]
    recipe_sha256: Sha256
    sources: tuple[SourceRecord, ...]
    contamination: Contamination
    left_out: LeftOut = LeftOut()
    groups: int
    steps: int
    command: tuple[str, ...]
    environment: dict[str, str]
    packages: dict[str, str]
    finished: bool = False
    skipped: int = 0
    documents: int = 0
    cut: int = 0
    emptied: int = 0
    best_step: int | None = None
    stopped_step: int | None = None
    results: tuple[DevRecord, ...] = ()

    def identity(self) -> dict[str, Any]:
        """Return what must be equal for a run to resume from another's checkpoint."""
        recipe = redact(self.recipe.model_dump(mode="json", exclude=_MAY_CHANGE))
        sources = [(source.name, source.sha256, source.groups) for source in self.sources]
        return {"recipe": recipe, "sources": sources, "steps": self.steps}


def make_record(loaded: LoadedRecipe, prepared: Prepared, steps: int, command: tuple[str, ...]) -> TrainingRecord:
    """Return the record of a run that is about to start."""
    return TrainingRecord(
        mrb_version=__version__,
        name=loaded.name,
        recipe=loaded.recipe,
        changed=loaded.changed,
        recipe_sha256=loaded.sha256,
        sources=prepared.records,
        contamination=prepared.contamination,
        left_out=prepared.left_out,
        groups=prepared.groups,
        steps=steps,
        command=command,
        environment=environment.describe_environment(),
        packages=environment.list_packages() | {name: version(name) for name in ("accelerate", "peft")},
    )


def read_training_record(folder: Path) -> TrainingRecord | None:
    """Return the record in `folder`, None if there is none. Raises TrainingError if it is damaged."""
    path = folder / RECORD_FILE
    if not path.is_file():
        return None
    try:
        return TrainingRecord.model_validate(read_json(path))
    except ValidationError as error:
        raise TrainingError(f"{path}: {format_first_problem(error)}") from error


def write_training_record(folder: Path, record: TrainingRecord) -> None:
    """Write the record atomically."""
    write_json(folder / RECORD_FILE, record.model_dump(mode="json"))


def format_cuts(documents: int, cut: int, emptied: int) -> str:
    """Return how many prompts lose text, of so many."""
    shares = [f"{100 * count / documents:.1f} %" for count in (cut, emptied)]
    return f"{shares[0]} of {documents:,} prompts lose text to max_length, {shares[1]} all of their document's"
