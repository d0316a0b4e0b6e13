"""A recipe on a model of its real shape, cut to a few layers and with random weights: two steps of training on a CPU.

    python benchmarks/train_shape.py --recipe gmr-3b-sft --layers 2

Widths, heads and vocabulary are those of the shipped configuration; only the number of layers is smaller, and the
tokenizer is the small one of the tests. Prints what learns, the two steps, the time and the peak memory, and how much
the layers keep for the way back beside what `mrb train --dry-run` reckons with.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers

from mrb.training.memory_estimate import (
    SHAPES,
    cut_config,
    load_config,
    make_empty_learner,
    measure_saved,
    measure_size,
)
from mrb.training.model import silence_libraries
from mrb.training.recipe import Recipe, load_recipe
from mrb.training.run import train

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.builders import frozen_checkpoints as tiny

PROBED = 256
"""Tokens of the row that what is kept is compared on."""


def checkpoint(folder: Path, shape: str, layers: int) -> None:
    """Save a model of the shape with so many layers in text and vision, its tokenizer and its image processor."""
    config = cut_config(load_config(SHAPES / shape), layers)
    tokenizer = tiny.tokenizer()
    for name, token in {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }.items():
        setattr(config, name, tokenizer.convert_tokens_to_ids(token))
    torch.manual_seed(0)
    model = transformers.AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformers.Qwen2VLImageProcessorPil().save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="gmr-3b-sft")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="SECTION.NAME=VALUE")
    asked = parser.parse_args()
    silence_libraries()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shape = load_recipe(asked.recipe).recipe.model.shape
        assert shape is not None
        started = time.perf_counter()
        checkpoint(folder / "base", shape, asked.layers)
        print(f"{shape} cut to {asked.layers} layers, saved in {time.perf_counter() - started:.0f} s")
        changes = [
            f"model.path={folder / 'base'}",
            "model.revision=none",
            'data.tasks=[{ task = "mini-flag-t2it-train" }]',
            "evaluation.tasks=[]",
            "schedule.steps=2",
            "schedule.queries=2",
            "sampling.negatives=4",
            "memory.chunk_tokens=1024",
            "output.save_every=0",
            *asked.changes,
        ]
        loaded = load_recipe(asked.recipe, changes)
        started = time.perf_counter()
        train(loaded, folder / "out", fresh=True, command=sys.argv)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"loaded, trained and saved in {time.perf_counter() - started:.0f} s, peak {peak:.1f} GB of memory")
        compare(loaded.recipe.model_copy(update={"model": loaded.recipe.model.model_copy(update={"path": "-"})}), asked)


def compare(recipe: Recipe, asked: argparse.Namespace) -> None:
    """What the layers keep for the way back, measured whole and reckoned from one layer."""
    half = recipe.memory.precision == "bf16"
    kept = {}
    for layers in (asked.layers, 2 * asked.layers):
        config = cut_config(load_config(SHAPES / recipe.model.shape), layers, 512)
        plain = recipe.memory.model_copy(update={"gradient_checkpointing": False})
        learner = make_empty_learner(recipe.model_copy(update={"memory": plain}), config).train()
        kept[layers] = measure_saved(learner, PROBED, half)
    found = kept[2 * asked.layers] - kept[asked.layers]
    one = measure_size(recipe)
    reckoned = asked.layers * (PROBED * one.layer_bytes + one.layer_fixed)
    print(
        f"{asked.layers} layers keep {found / 1e6:.1f} MB of {PROBED} tokens; reckoned {reckoned / 1e6:.1f} MB "
        f"({one.layer_bytes / 1e3:.1f} kB a token and layer)"
    )


if __name__ == "__main__":
    main()
