"""`mrb train RECIPE --dry-run`: estimate data, steps, tokens and memory without loading weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from mrb._util.format import format_table
from mrb.data.items import ImageHandle
from mrb.engine.prompt import Prompter
from mrb.engine.prompt_template import Layout, render
from mrb.errors import MRBError
from mrb.training.data.prepare import Prepared, prepare
from mrb.training.data.sampling import Drawn, draw, order
from mrb.training.memory_estimate import Shape, load_config, measure, shape_folder
from mrb.training.recipe import LoadedRecipe, Recipe, settings

GROUPS_READ = 200
"""Number of groups sampled to measure prompt lengths."""
CARD_GB = 80
CHARACTERS_A_TOKEN = 4
_GB = 1e9
_CONTEXT_BYTES = 1_500_000_000
"""Approximate size of a GPU's runtime before the first tensor."""
_ADAM = 4 + 4 + 4
"""Bytes per trained parameter in addition to the parameter: its gradient and AdamW's two moments, in float32."""


@dataclass(frozen=True)
class Lengths:
    """Prompt lengths of a sample of groups: `tokens` int64[documents]; `images` counts the image tokens among them.

    `exact`: whether the model's own tokenizer counted the text tokens.
    """

    tokens: np.ndarray[tuple[int], np.dtype[np.int64]]
    images: int
    exact: bool
    groups: int


def dry_run(loaded: LoadedRecipe, say: Callable[[str], None]) -> None:
    """Print an estimate of what training would take."""
    recipe = loaded.recipe
    from mrb.training.model import layout_of, quiet
    from mrb.training.run import total_steps

    quiet()
    layout = layout_of(recipe)
    prepared = prepare(recipe.data, say)
    steps = total_steps(recipe, prepared.groups)
    say(f"recipe {loaded.name}: {recipe.title}, sha256 {loaded.sha256[:16]}")
    for part in (
        _data_lines(prepared),
        _step_lines(recipe, prepared, steps),
        _token_lines(recipe, measure_lengths(recipe, layout, prepared, steps), steps),
        memory_lines(recipe, measure(recipe)),
        _setting_lines(loaded),
    ):
        for line in part:
            say(line)


def _data_lines(prepared: Prepared) -> Iterator[str]:
    yield f"data: {prepared.groups:,} groups from {len(prepared.sources)} sources"
    rows = [("source", "groups", "first stage")]
    rows += [(source.name, f"{source.groups:,}", source.first_stage or "-") for source in prepared.records]
    yield from (f"  {line}" for line in format_table(rows))
    found = prepared.contamination
    dropped = found.dropped
    yield (
        f"  held against {len(found.checked)} tasks ({len(found.unknown)} unknown, as their data is not here): dropped "
        f"{dropped.groups} groups, {dropped.positives} positives, {dropped.negatives} negatives"
    )


def _step_lines(recipe: Recipe, prepared: Prepared, steps: int) -> Iterator[str]:
    schedule, sampling = recipe.schedule, recipe.sampling
    seen = steps * schedule.queries
    yield (
        f"steps: {steps:,} of {schedule.queries} queries x {sampling.positives + sampling.negatives} documents; "
        f"{seen:,} groups, {seen / prepared.groups:.2f} times the data"
    )


def measure_lengths(recipe: Recipe, layout: Layout, prepared: Prepared, steps: int) -> Lengths:
    """Return the prompt lengths of groups sampled over the run; exact if the model's tokenizer is on this disk."""
    count = min(GROUPS_READ, steps * recipe.schedule.queries)
    seed = recipe.schedule.seed
    places = order(
        [len(source) for source in prepared.sources], steps * recipe.schedule.queries, recipe.sampling.by_size, seed
    )
    # Evenly spaced over the run, where the sources are mixed.
    taken = places[np.linspace(0, len(places) - 1, count).astype(int)]
    image_tokens = _image_tokens(recipe)
    prompter = _prompter(recipe, layout, image_tokens)
    tokens: list[int] = []
    images = 0
    for number, row, visit in taken.tolist():
        source = prepared.sources[number]
        try:
            one = draw(source.group(row), recipe.sampling, (seed, number, row, visit))
            counted = _estimated(recipe, layout, one, image_tokens) if prompter is None else _counted(prompter, one)
        except MRBError as error:
            raise source.named(row, error) from error
        tokens += [length for length, _ in counted]
        images += sum(own for _, own in counted)
    return Lengths(np.asarray(tokens, np.int64), images, prompter is not None, len(taken))


def _estimated(
    recipe: Recipe, layout: Layout, one: Drawn, image_tokens: Callable[[ImageHandle], int]
) -> list[tuple[int, int]]:
    """Return (tokens, image tokens) per document, text tokens estimated from the number of characters."""
    found = []
    for document in one.documents:
        rendered = render(layout, one.group.instruction, one.group.query.item, document.item)
        own = sum(image_tokens(image) for image in rendered.images)
        whole = own + math.ceil(len(rendered.text) / CHARACTERS_A_TOKEN)
        found.append((min(recipe.model.max_length, whole), own))
    return found


def _counted(prompter: Prompter, one: Drawn) -> list[tuple[int, int]]:
    """Return (tokens, image tokens) per document, counted by the model's tokenizer."""
    from mrb.training.dataset import prompts_of

    prompts = prompts_of(prompter, one)
    return [(len(prompt.ids), sum(placed.count for placed in prompt.images)) for prompt in prompts]


def _prompter(recipe: Recipe, layout: Layout, image_tokens: Callable[[ImageHandle], int]) -> Prompter | None:
    """Return a prompter with the model's own tokenizer, None if that is not on this disk."""
    from mrb.engine.checkpoint import load_tokenizer

    folder = shape_folder(recipe)
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    images = None if not hasattr(load_config(folder), "vision_config") else image_tokens
    return Prompter(load_tokenizer(folder), layout, recipe.model.max_length, images)


def _image_tokens(recipe: Recipe) -> Callable[[ImageHandle], int]:
    """Return a function that counts an image's tokens from its header, as training counts them.

    It uses the checkpoint's own image processor, or Qwen-VL's where only the model's shape is on this disk.
    """
    from transformers import Qwen2VLImageProcessorPil

    from mrb.engine.checkpoint import load_image_processor
    from mrb.engine.image_features import image_tokens

    settings, folder = recipe.model, shape_folder(recipe)
    vision = getattr(load_config(folder), "vision_config", None) if folder is not None else None
    if folder is not None and vision is not None and (folder / "tokenizer.json").is_file():
        processor = load_image_processor(folder, settings.min_pixels, settings.max_pixels)
    else:
        sides = {} if vision is None else {"patch_size": vision.patch_size, "merge_size": vision.spatial_merge_size}
        size = {"shortest_edge": settings.min_pixels, "longest_edge": settings.max_pixels}
        processor = Qwen2VLImageProcessorPil(size=size, **sides)
    return partial(image_tokens, processor)


def _token_lines(recipe: Recipe, lengths: Lengths, steps: int) -> Iterator[str]:
    tokens = lengths.tokens
    mean, total = float(tokens.mean()), int(tokens.sum())
    how = "by the model's tokenizer" if lengths.exact else f"text at {CHARACTERS_A_TOKEN} characters a token, roughly"
    yield (
        f"tokens: {mean:,.0f} a prompt (95 % under {np.quantile(tokens, 0.95):,.0f}, longest {tokens.max():,}), "
        f"{100 * lengths.images / total:.0f} % of images; of {lengths.groups} groups, {how}"
    )
    a_step = total / lengths.groups * recipe.schedule.queries
    passes = "" if recipe.loss.pointwise else "; each forward twice where a group is cut into chunks"
    yield f"  {a_step:,.0f} a step, {a_step * steps:,.0f} in all{passes}"


def memory_lines(recipe: Recipe, shape: Shape) -> Iterator[str]:
    """Yield the memory estimate of one process, by parts."""
    parts = memory_parts(recipe, shape)
    total = sum(parts.values())
    yield f"model: {shape.parameters:,} parameters, {shape.trained:,} trained"
    shown = ", ".join(f"{name} {size / _GB:.1f}" for name, size in parts.items())
    verdict = "fits" if total < CARD_GB * _GB else "does not fit"
    yield f"memory of a process, GB: {shown}; {total / _GB:.1f} in all: {verdict} a card of {CARD_GB}"
    yield "  an estimate: weights are counted, a layer is measured on the CPU, nothing was run on a GPU"
    if recipe.tuning.vision == "trained":
        yield "  what the vision tower keeps for the way back is not in it"


def memory_parts(recipe: Recipe, shape: Shape) -> dict[str, float]:
    """Return the bytes that one process with the whole model needs, by purpose."""
    memory = recipe.memory
    prompts = memory.queries * (recipe.sampling.positives + recipe.sampling.negatives)
    # A chunk is at most all prompts of a micro-batch, and at least one prompt.
    tokens = max(min(memory.chunk_tokens, prompts * recipe.model.max_length), recipe.model.max_length)
    layer = tokens * shape.layer_bytes
    states = tokens * shape.hidden * shape.state_bytes * shape.layers
    # With gradient checkpointing each layer's input is kept, and one layer's activations.
    kept = states + layer if memory.gradient_checkpointing else shape.layers * layer
    documents = memory.queries * (1 + recipe.sampling.positives + recipe.sampling.negatives)
    features = documents * recipe.model.max_length * shape.hidden * shape.state_bytes
    return {
        "weights": shape.weight_bytes + shape.layers * shape.layer_fixed,
        "gradients and optimiser": float(shape.trained * _ADAM),
        # Backward through a layer needs about as much again as the layer saved.
        "activations": kept + layer,
        "image features": features + memory.image_cache_mb * 1024.0 * 1024.0,
        "the rest": float(_CONTEXT_BYTES),
    }


def _setting_lines(loaded: LoadedRecipe) -> Iterator[str]:
    yield "settings (paper: stated there; ours: our choice; changed: yours)"
    for name, value in settings(loaded.recipe):
        shown = ", ".join(task.task for task in value) if name == "data.tasks" else value
        yield f"  {loaded.origin(name):<7}  {name} = {shown}"
