"""`mrb train RECIPE`: from a recipe to a folder with a model, its record, its log and its card.

```text
OUT/start/             random weights that training starts from, if the recipe names no checkpoint
OUT/training.json      the recipe as run, its data, the test data it was checked against, results
OUT/log.csv, dev.csv   loss curve and development results
OUT/skipped.csv        groups that could not be trained on, if the recipe skips them
OUT/checkpoint-N/      state for resuming
OUT/best/              the model of the best step by development tasks, if the recipe keeps it
OUT/model/             the trained model and its card, for `mrb run --model yes-no --set path=OUT/model`
```
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import set_seed

from mrb.engine.checkpoint import has_vision_tower, load_image_processor
from mrb.engine.image_features import ImageFeatureExtractor
from mrb.engine.prompt import Prompter
from mrb.engine.stats import Stats
from mrb.engine.vision import QwenTower, count_image_tokens
from mrb.errors import TrainingError
from mrb.evaluation.lock import lock_folder
from mrb.training.card import write_card
from mrb.training.data.prepare import Prepared, prepare
from mrb.training.dataset import GroupDataset
from mrb.training.encoder import make_backbone
from mrb.training.export import Exporter
from mrb.training.launch import has_accelerator, refuse_backends
from mrb.training.log import COLUMNS, DEV_COLUMNS, LogCallback, Table
from mrb.training.model import Learner, Start, build_learner, describe_trained, find_start, silence_libraries
from mrb.training.processes import agree, join_processes, take_turns
from mrb.training.random_init import make_random_start
from mrb.training.recipe import LoadedRecipe, Recipe
from mrb.training.record import (
    DevRecord,
    TrainingRecord,
    format_cuts,
    make_record,
    read_training_record,
    write_training_record,
)
from mrb.training.skipped import SKIPPED_COLUMNS, SkippedGroups
from mrb.training.trainer import RerankerTrainer, make_arguments
from mrb.training.validation import DevCallback, DevEvaluator

logger = logging.getLogger(__name__)
MODEL_FOLDER = "model"
BEST_FOLDER = "best"
START_FOLDER = "start"
_MEGABYTE = 1024 * 1024
_STATE = "trainer_state.json"


@dataclass(frozen=True)
class Components:
    """The components of a run."""

    learner: Learner
    prompter: Prompter
    extractor: ImageFeatureExtractor | None
    processor: Any | None
    exporter: Exporter


def train(loaded: LoadedRecipe, out: Path, *, fresh: bool, command: Sequence[str]) -> Path:
    """Train a model by a recipe. The same call resumes a killed run from its last checkpoint.

    Args:
        loaded: The recipe.
        out: Folder of the run.
        fresh: Whether to start over instead of resuming.
        command: The command line, for the record.

    Returns:
        The folder of the trained model.

    Raises:
        TrainingError: Settings, data or model do not fit, or the folder holds another run.
        ResultError: Another process trains in the folder.
    """
    silence_libraries()
    refuse_backends()
    here = join_processes(cpu=not has_accelerator())
    with lock_folder(out) if here.is_main_process else nullcontext():
        return _train(loaded, out, here, fresh=fresh, command=command)


def _train(loaded: LoadedRecipe, out: Path, here: PartialState, *, fresh: bool, command: Sequence[str]) -> Path:
    recipe = loaded.recipe
    if not here.is_main_process:
        logging.getLogger("mrb").setLevel(logging.WARNING)  # one process reports the progress of all
    # A missing checkpoint is reported before data are built.
    start = None if recipe.model.path is None else find_start(recipe)
    # The other processes find the data built and checked.
    prepared = take_turns(here, lambda: prepare(recipe.data, compares=not recipe.loss.pointwise))
    record = make_record(loaded, prepared, count_steps(recipe, prepared.groups), tuple(command))
    folder = out / MODEL_FOLDER
    checkpoint, finished = agree(
        here,
        lambda: (_find_checkpoint(out, record, fresh=fresh), not fresh and _is_finished(out) and folder.is_dir()),
        f"{out}: the processes do not see the same checkpoints; --out must be a folder that all nodes share",
    )
    if finished:
        logger.info(f"model: {folder} (this run is finished; --fresh starts over)")
        return folder
    if start is None:
        start = take_turns(
            here,
            lambda: _make_start(recipe, prepared, out / START_FOLDER, fresh=fresh and here.is_main_process),
        )
    set_seed(recipe.schedule.seed)
    parts = build_components(recipe, start)
    logger.info(describe_trained(parts.learner))
    evaluator = DevEvaluator(recipe.evaluation, parts.learner, parts.prompter, parts.processor)
    evaluator.check_tasks()
    args = make_arguments(recipe, out, record.steps, here.num_processes)
    if here.is_main_process:
        _remove_later(out, checkpoint)
        write_training_record(out, record)
    here.wait_for_everyone()

    def save_best(step: int, results: Sequence[DevRecord]) -> None:
        half = out / f"{BEST_FOLDER}.part"
        shutil.rmtree(half, ignore_errors=True)
        parts.exporter.save(half / BEST_FOLDER)
        own = record.model_copy(update={"steps": step, "results": tuple(results)})
        write_card(half / BEST_FOLDER, own)
        shutil.rmtree(out / BEST_FOLDER, ignore_errors=True)
        (half / BEST_FOLDER).rename(out / BEST_FOLDER)
        half.rmdir()

    dev = DevCallback(evaluator, Table(out / "dev.csv", DEV_COLUMNS), save_best)
    log = LogCallback(Table(out / "log.csv", COLUMNS))
    schedule = recipe.schedule
    count = record.steps * schedule.queries
    dataset = GroupDataset(prepared.sources, count, recipe, parts.prompter, here.num_processes)
    skipped = SkippedGroups(Table(out / "skipped.csv", SKIPPED_COLUMNS), recipe.data)
    trainer = RerankerTrainer(
        parts.learner, dataset, args, recipe, parts.extractor, parts.exporter, skipped, [log, dev]
    )
    dev.accelerator = trainer.accelerator
    if checkpoint is not None:
        logger.info(f"continuing after {checkpoint}")
    if checkpoint is not None and dev.is_exhausted():  # the run was killed after its last step
        parts.exporter.load(checkpoint)
        last = _read_step(checkpoint)
    else:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        last = trainer.state.global_step
    dev.score_step(last)
    trainer.save_final(folder)
    if here.is_main_process:
        counts = log.count(("documents", "cut", "emptied"))
        if counts["documents"]:  # none if the run was too short for a line of the log
            logger.info(format_cuts(**counts))
        results, best = tuple(dev.last), dev.find_best() if recipe.evaluation.keep_best else None
        found = {"skipped": skipped.total, "results": results, "best_step": best, **counts}
        found["stopped_step"] = last if last < record.steps else None
        record = record.model_copy(update={"finished": True, **found})
        write_card(folder, record)
        write_training_record(out, record)  # last: a run marked finished has its card
        logger.info(f"model: {folder}")
    here.wait_for_everyone()
    return folder


def _make_start(recipe: Recipe, prepared: Prepared, folder: Path, *, fresh: bool) -> Start:
    """Return the random checkpoint in `folder`, made if it is not there."""
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    if not folder.is_dir():
        half = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(half, ignore_errors=True)
        make_random_start(half, recipe, prepared.sources)
        half.rename(folder)
    return find_start(recipe, folder)


def count_steps(recipe: Recipe, groups: int) -> int:
    """Return the number of steps of a run over so many groups."""
    schedule = recipe.schedule
    return schedule.steps or max(1, math.ceil(schedule.epochs * groups / schedule.queries))


def build_components(recipe: Recipe, start: Start) -> Components:
    """Load the model and build prompts and images by a recipe."""
    settings, learner = recipe.model, build_learner(recipe, start)
    if recipe.memory.share_prefix and not make_backbone(learner.base).can_share:
        raise TrainingError(
            "memory.share_prefix needs a causal language model whose layers attend to all tokens, with model.attention "
            "sdpa: leave it out"
        )
    processor = extractor = None
    if has_vision_tower(start.folder):
        processor = load_image_processor(start.folder, settings.min_pixels, settings.max_pixels)
        extractor = ImageFeatureExtractor(
            QwenTower(learner.base.model, processor),
            device=learner.base.device,
            cache_bytes=recipe.memory.image_cache_mb * _MEGABYTE,
            batch_patches=4 * recipe.memory.chunk_tokens,
            stats=Stats(),
        )
    # A worker that is started by "spawn" or "forkserver" gets the prompter by pickling.
    tokens = None if processor is None else partial(count_image_tokens, processor)
    prompter = Prompter(start.tokenizer, start.layout, settings.max_length, tokens)
    base, revision = settings.name, settings.revision
    if start.lora is not None:
        base, revision = start.lora["base_model_name_or_path"], start.lora.get("revision")
    exporter = Exporter(
        learner,
        start,
        base=str(start.folder.resolve()) if revision is None else base,
        revision=revision,
        dtype=torch.bfloat16 if recipe.memory.precision == "bf16" else torch.float32,
        max_length=settings.max_length,
        merge=recipe.output.merge,
    )
    return Components(learner, prompter, extractor, processor, exporter)


def _find_checkpoint(out: Path, record: TrainingRecord, *, fresh: bool) -> Path | None:
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
    return max(whole, key=_read_step, default=None)


def _read_step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _is_finished(out: Path) -> bool:
    record = read_training_record(out)
    return record is not None and record.finished


def _remove_later(out: Path, checkpoint: Path | None) -> None:
    """Remove what a run resumed from `checkpoint` makes again: later or broken checkpoints, log lines, the model."""
    step = -1 if checkpoint is None else _read_step(checkpoint)
    for folder in out.glob("checkpoint-*"):
        number = folder.name.rpartition("-")[2]
        if folder != checkpoint and (not number.isdigit() or int(number) > step or not (folder / _STATE).is_file()):
            shutil.rmtree(folder)
    shutil.rmtree(out / MODEL_FOLDER, ignore_errors=True)
    if checkpoint is None:
        shutil.rmtree(out / BEST_FOLDER, ignore_errors=True)
    for name, columns in (("log.csv", COLUMNS), ("dev.csv", DEV_COLUMNS), ("skipped.csv", SKIPPED_COLUMNS)):
        Table(out / name, columns).cut_after(step)
