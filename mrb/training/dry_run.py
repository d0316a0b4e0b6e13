"""`mrb train RECIPE --dry-run`: estimate data, steps, tokens and memory without loading weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from mrb._util.format import format_table
from mrb.data.items import ImageHandle, Item
from mrb.engine.checkpoint import load_image_processor, load_tokenizer
from mrb.engine.prompt import PlacedImage, Prompt, Prompter
from mrb.engine.prompt_template import PromptTemplate, Rendered, render
from mrb.engine.vision import count_image_tokens
from mrb.errors import MRBError
from mrb.training.data.contamination import format_unjudged
from mrb.training.data.prepare import Prepared, prepare
from mrb.training.dataset import CHARACTERS_A_TOKEN, GroupDataset
from mrb.training.memory_estimate import ModelSize, find_config_folder, load_config, measure_size
from mrb.training.model import find_layout, silence_libraries
from mrb.training.recipe import LoadedRecipe, Recipe, format_settings
from mrb.training.record import format_cuts
from mrb.training.run import count_steps

GROUPS_READ = 200
"""Number of groups sampled to measure prompt lengths."""
CARD_GB = 80
_GB = 1e9
_CONTEXT_BYTES = 1_500_000_000
"""Approximate size of a GPU's runtime before the first tensor."""
_ADAM = 4 + 4 + 4
"""Bytes per trained parameter in addition to the parameter: its gradient and AdamW's two moments, in float32."""


@dataclass(frozen=True)
class Lengths:
    """Prompt lengths of a sample of groups: `tokens` int64[documents]; `images` counts the image tokens among them.

    `exact`: whether the model's own tokenizer counted the text tokens. `cut` counts the prompts that lose
    text, `emptied` those that lose all of their document's. `skipped` says what was wrong with groups that others
    replaced.
    """

    tokens: np.ndarray[tuple[int], np.dtype[np.int64]]
    images: int
    exact: bool
    groups: int
    cut: int
    emptied: int
    skipped: tuple[str, ...]


def report_dry_run(loaded: LoadedRecipe) -> Iterator[str]:
    """Yield the lines of an estimate of what training would take."""
    recipe = loaded.recipe
    silence_libraries()
    layout = find_layout(recipe)
    prepared = prepare(recipe.data, compares=not recipe.loss.pointwise)
    steps = count_steps(recipe, prepared.groups)
    yield f"recipe {loaded.name}: {recipe.title}, sha256 {loaded.sha256[:16]}"
    for part in (
        _format_data(prepared),
        _format_steps(recipe, prepared, steps),
        _format_tokens(recipe, measure_lengths(recipe, layout, prepared, steps), steps),
        format_memory(recipe, measure_size(recipe)),
        _format_settings(loaded),
    ):
        yield from part


def _format_data(prepared: Prepared) -> Iterator[str]:
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
    if dropped.unjudged:
        yield f"  {format_unjudged(dropped)}"
    besides = prepared.left_out
    yield f"  also left out: {besides.no_negatives} groups without negatives, {besides.bad} that cannot be trained on"


def _format_steps(recipe: Recipe, prepared: Prepared, steps: int) -> Iterator[str]:
    schedule, sampling = recipe.schedule, recipe.sampling
    seen = steps * schedule.queries
    yield (
        f"steps: {steps:,} of {schedule.queries} queries x {sampling.positives + sampling.negatives} documents; "
        f"{seen:,} groups, {seen / prepared.groups:.2f} times the data"
    )


def measure_lengths(recipe: Recipe, layout: PromptTemplate, prepared: Prepared, steps: int) -> Lengths:
    """Return the prompt lengths of groups sampled over the run; exact if the model's tokenizer is on this disk."""
    prompter = _make_prompter(recipe, layout)
    count = steps * recipe.schedule.queries
    dataset = GroupDataset(prepared.sources, count, recipe, prompter)
    prompts: list[Prompt] = []
    skipped: list[str] = []
    # Evenly spaced over the run, where the sources are mixed.
    places = np.linspace(0, count - 1, min(GROUPS_READ, count)).astype(int).tolist()
    for place in places:
        batch = dataset[place]
        if isinstance(batch, MRBError):
            raise batch
        prompts += batch.prompts
        skipped += batch.skipped
    tokens = np.asarray([len(prompt.ids) for prompt in prompts], np.int64)
    images = sum(placed.count for prompt in prompts for placed in prompt.images)
    return Lengths(
        tokens,
        images,
        exact=not isinstance(prompter, RoughPrompter),
        groups=len(places),
        cut=sum(prompt.cut > 0 for prompt in prompts),
        emptied=sum(prompt.emptied for prompt in prompts),
        skipped=tuple(skipped),
    )


class RoughPrompter(Prompter):
    """Makes prompts of about the right length and without content, for a model whose tokenizer is not on this disk."""

    def __init__(self, layout: PromptTemplate, max_length: int, image_tokens: Callable[[ImageHandle], int]) -> None:
        self.layout = layout
        self.max_length = max_length
        self.image_tokens = image_tokens

    def prompts(self, instruction: str, pairs: Sequence[tuple[Item, Item]]) -> list[Prompt]:
        """Return a prompt for each pair, text tokens estimated from the number of characters."""
        return [self._estimate(render(self.layout, instruction, query, document)) for query, document in pairs]

    def _estimate(self, rendered: Rendered) -> Prompt:
        assert self.image_tokens is not None
        images = tuple(PlacedImage(image, 0, self.image_tokens(image)) for image in rendered.images)
        length = sum(placed.count for placed in images) + math.ceil(len(rendered.text) / CHARACTERS_A_TOKEN)
        over = max(0, length - self.max_length)
        _, start, end = rendered.document_text or (0, 0, 0)
        emptied = 0 < math.ceil((end - start) / CHARACTERS_A_TOKEN) <= over
        return Prompt(np.zeros(length - over, np.int64), images, shared=0, cut=over, emptied=emptied)


def _make_prompter(recipe: Recipe, layout: PromptTemplate) -> Prompter:
    """Return a prompter with the model's own tokenizer and image processor if they are on this disk, else a rough one.

    Images are measured by their headers.
    """
    from transformers import Qwen2VLImageProcessorPil

    settings, folder = recipe.model, find_config_folder(recipe)
    vision = None if folder is None else getattr(load_config(folder), "vision_config", None)
    if folder is not None and (folder / "tokenizer.json").is_file():
        count = None
        if vision is not None:
            count = partial(count_image_tokens, load_image_processor(folder, settings.min_pixels, settings.max_pixels))
        return Prompter(load_tokenizer(folder), layout, settings.max_length, count)
    sides = {} if vision is None else {"patch_size": vision.patch_size, "merge_size": vision.spatial_merge_size}
    size = {"shortest_edge": settings.min_pixels, "longest_edge": settings.max_pixels}
    processor = Qwen2VLImageProcessorPil(size=size, **sides)
    return RoughPrompter(layout, settings.max_length, partial(count_image_tokens, processor))


def _format_tokens(recipe: Recipe, lengths: Lengths, steps: int) -> Iterator[str]:
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
    yield f"  {format_cuts(len(tokens), lengths.cut, lengths.emptied)}"
    if lengths.skipped:
        count = f"{len(lengths.skipped)} of {lengths.groups}"
        yield f"  {count} groups cannot be trained on and would be skipped, the first: {lengths.skipped[0]}"


def format_memory(recipe: Recipe, size: ModelSize) -> Iterator[str]:
    """Yield the memory estimate of one process, by parts."""
    parts = estimate_memory(recipe, size)
    total = sum(parts.values())
    yield f"model: {size.parameters:,} parameters, {size.trained:,} trained"
    shown = ", ".join(f"{name} {part / _GB:.1f}" for name, part in parts.items())
    verdict = "fits" if total < CARD_GB * _GB else "does not fit"
    yield f"memory of a process, GB: {shown}; {total / _GB:.1f} in all: {verdict} a card of {CARD_GB}"
    yield "  an estimate: weights are counted, a layer is measured on the CPU, nothing was run on a GPU"
    if recipe.tuning.vision == "trained":
        yield "  what the vision tower keeps for the way back is not in it"


def estimate_memory(recipe: Recipe, size: ModelSize) -> dict[str, float]:
    """Return the bytes that one process with the whole model needs, by purpose."""
    memory = recipe.memory
    prompts = memory.queries * (recipe.sampling.positives + recipe.sampling.negatives)
    # A chunk is at most all prompts of a micro-batch, and at least one prompt.
    tokens = max(min(memory.chunk_tokens, prompts * recipe.model.max_length), recipe.model.max_length)
    layer = tokens * size.layer_bytes
    states = tokens * size.hidden * size.state_bytes * size.layers
    # With gradient checkpointing each layer's input is kept, and one layer's activations.
    kept = states + layer if memory.gradient_checkpointing else size.layers * layer
    documents = memory.queries * (1 + recipe.sampling.positives + recipe.sampling.negatives)
    features = documents * recipe.model.max_length * size.hidden * size.state_bytes
    return {
        "weights": size.weight_bytes + size.layers * size.layer_fixed,
        "gradients and optimiser": float(size.trained * _ADAM),
        # Backward through a layer needs about as much again as the layer saved.
        "activations": kept + layer,
        "image features": features + memory.image_cache_mb * 1024.0 * 1024.0,
        "the rest": float(_CONTEXT_BYTES),
    }


def _format_settings(loaded: LoadedRecipe) -> Iterator[str]:
    yield "settings (paper: stated there; ours: our choice; changed: yours)"
    for name, shown in format_settings(loaded.recipe):
        yield f"  {loaded.find_origin(name):<7}  {name} = {shown}"
