"""`mrb train RECIPE`: from a recipe to a folder with a model, its record, its log and its card.

```text
OUT/start/             random weights that training starts from, if the recipe names no checkpoint
OUT/training.json      the recipe as run, its data, the test data it was checked against, results
OUT/log.csv, dev.csv   loss curve and development results
OUT/checkpoint-N/      state for resuming
OUT/model/             the trained model and its card, for `mrb run --model yes-no --set path=OUT/model`
```
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor
from transformers import TrainerCallback, TrainingArguments, set_seed

from mrb.engine.checkpoint import load_image_processor, takes_images
from mrb.engine.image_features import Pictures
from mrb.engine.prompt import Prompter
from mrb.engine.stats import Stats
from mrb.errors import TrainingError
from mrb.evaluation.lock import lock_folder
from mrb.metrics.measures import HEADLINE
from mrb.training.card import write_card
from mrb.training.data.prepare import Prepared, prepare
from mrb.training.data.sampling import order
from mrb.training.dataset import Feed
from mrb.training.export import Exporter
from mrb.training.log import COLUMNS, DEV_COLUMNS, LogCallback, Table
from mrb.training.model import Learner, Start, build_learner, find_start, matched_text, quiet
from mrb.training.random_init import make_random_start
from mrb.training.recipe import LoadedRecipe, Recipe
from mrb.training.record import DevRecord, TrainingRecord, make_record, read_training_record, write_training_record
from mrb.training.trainer import RerankerTrainer, arguments
from mrb.training.validation import Dev, DevResult

Say = Callable[[str], None]
MODEL_FOLDER = "model"
START_FOLDER = "start"
_MEGABYTE = 1024 * 1024
_STATE = "trainer_state.json"


@dataclass(frozen=True)
class Parts:
    """The components of a run."""

    learner: Learner
    prompter: Prompter
    pictures: Pictures | None
    processor: Any | None
    exporter: Exporter


def train(loaded: LoadedRecipe, out: Path, *, fresh: bool, command: Sequence[str], say: Say) -> Path:
    """Train a model by a recipe. The same call resumes a killed run from its last checkpoint.

    Args:
        loaded: The recipe.
        out: Folder of the run.
        fresh: Whether to start over instead of resuming.
        command: The command line, for the record.
        say: Receives the lines of progress.

    Returns:
        The folder of the trained model.

    Raises:
        TrainingError: Settings, data or model do not fit, or the folder holds another run.
        ResultError: Another process trains in the folder.
    """
    quiet()
    here = PartialState(cpu=not _accelerated())
    with lock_folder(out) if here.is_main_process else nullcontext():
        return _train(loaded, out, here, say, fresh=fresh, command=command)


def _train(
    loaded: LoadedRecipe, out: Path, here: PartialState, say: Say, *, fresh: bool, command: Sequence[str]
) -> Path:
    recipe = loaded.recipe
    say_once: Say = say if here.is_main_process else _nothing
    # A missing checkpoint is reported before data are built.
    start = None if recipe.model.path is None else find_start(recipe)
    with here.main_process_first():  # the other processes find the data built
        prepared = prepare(recipe.data, say_once)
    record = make_record(loaded, prepared, total_steps(recipe, prepared.groups), tuple(command))
    checkpoint = _checkpoint(out, record, fresh=fresh)
    folder = out / MODEL_FOLDER
    if not fresh and _finished(out) and folder.is_dir():
        say_once(f"model: {folder} (this run is finished; --fresh starts over)")
        return folder
    here.wait_for_everyone()
    if start is None:
        with here.main_process_first():
            start = _random_start(recipe, prepared, out / START_FOLDER, fresh=fresh and here.is_main_process)
    set_seed(recipe.schedule.seed)
    parts = build_parts(recipe, start)
    say_once(matched_text(parts.learner))
    dev = Dev(recipe.evaluation, parts.learner, parts.prompter, parts.processor)
    dev.check()
    args = arguments(recipe, out, record.steps, here.num_processes)
    if here.is_main_process:
        _clear(out, checkpoint)
        write_training_record(out, record)
    here.wait_for_everyone()
    trainer, results = _trainer(recipe, args, parts, prepared, dev, say_once)
    if checkpoint is not None:
        say_once(f"going on after {checkpoint}")
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    results.at_end(record.steps)
    trainer.save_final(folder)
    if here.is_main_process:
        found = tuple(DevRecord(measure=str(HEADLINE), **vars(result)) for result in results.last)
        record = record.model_copy(update={"finished": True, "results": found})
        write_card(folder, record)
        write_training_record(out, record)  # last: a run marked finished has its card
        say(f"model: {folder}")
    here.wait_for_everyone()
    return folder


def _random_start(recipe: Recipe, prepared: Prepared, folder: Path, *, fresh: bool) -> Start:
    """Return the random checkpoint in `folder`, made if it is not there."""
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    if not folder.is_dir():
        half = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(half, ignore_errors=True)
        make_random_start(half, recipe, prepared.sources)
        half.rename(folder)
    return find_start(recipe, folder)


def total_steps(recipe: Recipe, groups: int) -> int:
    """Return the number of steps of a run over so many groups."""
    schedule = recipe.schedule
    return schedule.steps or max(1, math.ceil(schedule.epochs * groups / schedule.queries))


def build_parts(recipe: Recipe, start: Start) -> Parts:
    """Load the model and build prompts and images by a recipe."""
    learner = build_learner(recipe, start)
    return parts_of(recipe, start, learner)


def parts_of(recipe: Recipe, start: Start, learner: Learner) -> Parts:
    """Build the components of a run around a learner."""
    settings = recipe.model
    processor = pictures = None
    if takes_images(start.folder):
        processor = load_image_processor(start.folder, settings.min_pixels, settings.max_pixels)
        pictures = Pictures(
            learner.base.model,
            processor,
            cache_bytes=recipe.memory.image_cache_mb * _MEGABYTE,
            batch_patches=4 * recipe.memory.chunk_tokens,
            stats=Stats(),
        )
    tokens = None if pictures is None else pictures.tokens
    prompter = Prompter(start.tokenizer, start.layout, settings.max_length, tokens)
    exporter = Exporter(
        learner,
        start,
        base=str(start.folder.resolve()) if settings.revision is None else settings.name,
        revision=settings.revision,
        dtype=torch.bfloat16 if recipe.memory.precision == "bf16" else torch.float32,
    )
    return Parts(learner, prompter, pictures, processor, exporter)


def _trainer(
    recipe: Recipe, args: TrainingArguments, parts: Parts, prepared: Prepared, dev: Dev, say: Say
) -> tuple[RerankerTrainer, DevCallback]:
    out, schedule = Path(str(args.output_dir)), recipe.schedule
    sizes = [len(source) for source in prepared.sources]
    places = order(sizes, args.max_steps * schedule.queries, recipe.sampling.by_size, schedule.seed)
    feed = Feed(prepared.sources, places, recipe.sampling, schedule.seed, parts.prompter)
    results = DevCallback(dev, recipe.evaluation.every, Table(out / "dev.csv", DEV_COLUMNS), say)
    callbacks: list[TrainerCallback] = [LogCallback(Table(out / "log.csv", COLUMNS), say), results]

    def save(folder: Path, state: dict[str, Tensor] | None) -> None:
        parts.exporter.save(folder, state)
        parts.exporter.save_state(folder, state)

    trainer = RerankerTrainer(
        parts.learner,
        feed,
        args,
        recipe,
        parts.pictures,
        save=save,
        save_final=parts.exporter.save,
        load=parts.exporter.load,
        callbacks=callbacks,
    )
    results.accelerator = trainer.accelerator
    return trainer, results


class DevCallback(TrainerCallback):
    """Scores the development tasks every `every` steps; prints and writes the results."""

    def __init__(self, dev: Dev, every: int, table: Table, say: Say) -> None:
        self._dev = dev
        self._every = every
        self._table = table
        self._say = say
        self._scored = -1
        self.accelerator: Any = None
        self.last: list[DevResult] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Score after a step, if it is due."""
        if self._every and state.global_step % self._every == 0:
            self._score(state.global_step)

    def at_end(self, step: int) -> None:
        """Score after the last step, unless that step has been scored."""
        if self._scored != step:
            self._score(step)

    def _score(self, step: int) -> None:
        self._scored = step
        if not self._dev.settings.tasks:
            return
        self.last = self._dev(self.accelerator)
        if self.accelerator.is_main_process:
            self._table.cut(step - 1)  # a resumed run may score the same step again
            for result in self.last:
                self._table.add(result.row(step))
        for result in self.last:
            self._say(
                f"step {step}  {result.task}  {HEADLINE} {100 * result.value:.2f} "
                f"[{100 * result.low:.2f}, {100 * result.high:.2f}]  first stage {100 * result.first_stage:.2f}"
            )
        mean = sum(result.value for result in self.last) / len(self.last)
        self._say(f"step {step}  mean over {len(self.last)} development tasks {100 * mean:.2f}")


def _checkpoint(out: Path, record: TrainingRecord, *, fresh: bool) -> Path | None:
    """Return the last complete checkpoint of the same run in `out`; None to start at the beginning.

    Raises TrainingError if `out` holds another run.
    """
    earlier = None if fresh else read_training_record(out)
    if earlier is None:
        if not fresh and any(out.glob("checkpoint-*")):
            raise TrainingError(f"{out}: holds checkpoints but no record of their run; give another --out, or --fresh")
        return None
    if earlier.identity() != record.identity():
        raise TrainingError(
            f"{out}: holds another run ({earlier.name}; its settings, data or steps differ); give another --out, or "
            "--fresh to start over"
        )
    whole = [folder for folder in out.glob("checkpoint-*") if (folder / _STATE).is_file()]
    return max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


def _finished(out: Path) -> bool:
    record = read_training_record(out)
    return record is not None and record.finished


def _clear(out: Path, checkpoint: Path | None) -> None:
    """Remove what a run resumed from `checkpoint` makes again: later or broken checkpoints, log lines, the model."""
    step = -1 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])
    for folder in out.glob("checkpoint-*"):
        number = folder.name.rpartition("-")[2]
        if folder != checkpoint and (not number.isdigit() or int(number) > step or not (folder / _STATE).is_file()):
            shutil.rmtree(folder)
    shutil.rmtree(out / MODEL_FOLDER, ignore_errors=True)
    for name, columns in (("log.csv", COLUMNS), ("dev.csv", DEV_COLUMNS)):
        Table(out / name, columns).cut(step)


def _accelerated() -> bool:
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes"):
        return False
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _nothing(line: str) -> None:
    """Ignore a line: only the first process prints."""
