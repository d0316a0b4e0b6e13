"""Small things to train on: a file of groups with pictures, recipes for it, and their parts."""

from __future__ import annotations

import csv
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mrb.data.items import Item
from mrb.training.data.files import write_groups
from mrb.training.data.group import TrainingGroup, TrainingItem, sample_documents
from mrb.training.data.prepare import prepare
from mrb.training.dataset import Batch, join_batches, make_batch
from mrb.training.model import find_start
from mrb.training.recipe import LoadedRecipe, Recipe, load_recipe
from mrb.training.run import Components, build_components, train
from tests.builders.requests import picture

WORDS = ("red", "green", "blue", "white", "black", "yellow", "round", "square", "small", "large", "hot", "cold")


def toy_groups(folder: Path, count: int = 8, *, pictures: bool = True, negatives: int = 4) -> Path:
    """A file of `count` groups: a word as the query, the same word and a picture of its own as the document. Every
    fourth group has no picture."""
    rng = np.random.default_rng(0)

    def group(row: int) -> TrainingGroup:
        word = row % len(WORDS)
        shown = pictures and row % 4 != 2

        def document(word: int) -> Item:
            return Item(f"it is {WORDS[word]}", picture(60 + 5 * word, 60, word) if shown and word % 2 else None)

        others = [int(n) for n in rng.permutation(len(WORDS)) if n != word][: 2 * negatives]
        hard = [TrainingItem(document(n), f"h{n}", rank, 1 / rank) for rank, n in enumerate(others[:negatives], 1)]
        random = [TrainingItem(document(n), f"r{n}") for n in others[negatives:]]
        query = Item(f"what is {WORDS[word]}?", picture(56, 60, 100 + word) if shown and row % 3 == 0 else None)
        return TrainingGroup("Find it.", "toy", TrainingItem(query), [TrainingItem(document(word))], [*hard, *random])

    path = folder / "toy.jsonl"
    write_groups(path, (group(row) for row in range(count)))
    return path


def recipe_of(folder: Path, checkpoint: Path, groups: Path, changes: Sequence[str] = ()) -> LoadedRecipe:
    """A small recipe in full precision, LoRA unless it is changed."""
    path = folder / "small.toml"
    path.write_text(
        f"""
        schema_version = 1
        title = "small"
        [model]
        path = "{checkpoint}"
        max_length = 400
        max_pixels = 9408
        [tuning]
        rank = 4
        alpha = 8
        [data]
        groups = ["{groups}"]
        [sampling]
        negatives = 3
        [schedule]
        queries = 4
        steps = 4
        learning_rate = 3e-3
        [memory]
        precision = "fp32"
        queries = 2
        chunk_tokens = 100000
        gradient_checkpointing = false
        [output]
        save_every = 0
        log_every = 1
        """
    )
    return load_recipe(str(path), changes)


def read_curve(out: Path, *columns: str) -> list[list[float]]:
    """These columns of a run's log."""
    with (out / "log.csv").open() as file:
        return [[float(row[name]) for name in columns or ("step", "loss", "grad_norm")] for row in csv.DictReader(file)]


def parts_of_recipe(recipe: Recipe) -> Components:
    """Model, prompts and images of a recipe, from its seed."""
    from transformers import set_seed

    set_seed(recipe.schedule.seed)
    return build_components(recipe, find_start(recipe))


def batch_of(recipe: Recipe, parts: Components, rows: Sequence[int]) -> Batch:
    """The batch of the first visit of some rows."""
    (source,) = prepare(recipe.data).sources
    groups = [sample_documents(source.group(row), recipe.sampling, (0, row)) for row in rows]
    return join_batches([make_batch(parts.prompter, group, target=recipe.loss.target) for group in groups])


class KillAtStep(logging.Handler):
    """Kills its own process once the log has the step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = str(step)

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().split()[:1] == [self.step]:
            os.kill(os.getpid(), signal.SIGKILL)


def train_until_killed(recipe: LoadedRecipe, out: Path, step: int) -> None:
    logging.getLogger("mrb").setLevel(logging.INFO)
    logging.getLogger("mrb").addHandler(KillAtStep(step))
    train(recipe, out, fresh=False, command=())


def killed_at(recipe: LoadedRecipe, out: Path, step: int) -> None:
    """Train in a process of its own that is killed without warning once the log has this step.

    It is forked from a server that has imported torch and has no thread pool, which would not survive a fork.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["torch", "transformers", "mrb.training.run"])
    child = context.Process(target=train_until_killed, args=(recipe, out, step))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def launched(arguments: Sequence[str], processes: int, folder: Path) -> subprocess.CompletedProcess[str]:
    accelerate = Path(sys.executable).with_name("accelerate")
    launch = ["launch", "--multi_gpu", "--num_processes", str(processes), "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    return subprocess.run(
        [str(accelerate), *launch, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
