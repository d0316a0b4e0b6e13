"""`min_pixels` and `max_pixels` hold on checkpoints whose image processor's file is as the Hub has it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mrb.data.items import Item
from mrb.engine.checkpoint import load_image_processor, load_plain_image_processor
from mrb.errors import AdapterError
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.reranker import Request
from mrb.training.data.files import write_groups
from mrb.training.data.group import TrainingGroup, TrainingItem
from mrb.training.data.prepare import prepare
from mrb.training.dry_run import measure_lengths
from tests.builders.requests import INSTRUCTION, picture
from tests.builders.training import parts_of_recipe, recipe_of

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]

PIXELS = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
SIDES = {"patch_size": 14, "temporal_patch_size": 2, "merge_size": 2}
QWEN2_5 = {"min_pixels": 3136, "max_pixels": 12845056, **SIDES, **PIXELS, "processor_class": "Qwen2_5_VLProcessor"}
"""preprocessor_config.json of Qwen/Qwen2.5-VL-7B-Instruct and Qwen/Qwen2-VL-7B-Instruct, but for the type."""
FORMS: dict[str, dict[str, Any]] = {
    "qwen2.5-vl": {**QWEN2_5, "image_processor_type": "Qwen2VLImageProcessor"},
    "first-weeks": {**QWEN2_5, "image_processor_type": "Qwen2_5_VLImageProcessor"},
    "fast": {**QWEN2_5, "image_processor_type": "Qwen2VLImageProcessorFast"},
    "unnamed": QWEN2_5,
    "size-of-pixels": {  # saved by transformers 4.49
        **QWEN2_5,
        "size": {"min_pixels": 3136, "max_pixels": 12845056},
        "image_processor_type": "Qwen2VLImageProcessor",
    },
    "both": {  # saved by transformers 4.51 to 4.57
        **QWEN2_5,
        "size": {"shortest_edge": 3136, "longest_edge": 12845056},
        "image_processor_type": "Qwen2VLImageProcessorFast",
    },
    "qwen3-vl": {
        "size": {"longest_edge": 16777216, "shortest_edge": 65536},
        **SIDES,
        "patch_size": 16,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "Qwen3VLProcessor",
        "image_processor_type": "Qwen2VLImageProcessorFast",
    },
}
# (width, height) -> patches (across, down), by `smart_resize` of qwen-vl-utils 0.0.14 (factor 28; 32 for Qwen3-VL).
GRIDS = {
    (28, 3136, 25088): {(1000, 800): (12, 10), (1700, 2400): (8, 12), (1, 1): (4, 4), (4961, 7016): (8, 12)},
    (28, 3136, 1003520): {(1000, 800): (72, 58), (1700, 2400): (60, 84), (50, 3000): (4, 214), (13, 13): (4, 4)},
    (28, 50176, 100352): {(1000, 800): (24, 20), (1, 1): (16, 16), (3000, 50): (174, 2), (640, 480): (26, 18)},
    (32, 3136, 25088): {(1000, 800): (10, 8), (1700, 2400): (8, 10), (1, 1): (4, 4), (640, 480): (10, 8)},
    (32, 50176, 100352): {(1000, 800): (22, 16), (28, 28): (14, 14), (3000, 50): (152, 2)},
}


def write_processor(folder: Path, content: dict[str, Any], *, nested: bool = False) -> Path:
    """Put an image processor's file into `folder`: as the Hub's checkpoints have it, or nested as newer ones do."""
    (folder / "preprocessor_config.json").unlink(missing_ok=True)
    if nested:
        whole = {"processor_class": content.get("processor_class"), "image_processor": content}
        (folder / "processor_config.json").write_text(json.dumps(whole))
    else:
        (folder / "preprocessor_config.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def hub(tiny: Tiny, tmp_path: Path) -> Callable[..., Path]:
    """`hub("qwen2.5-vl")`: a tiny Qwen2.5-VL checkpoint with the image processor's file of that form."""

    def make(form: str, *, nested: bool = False) -> Path:
        folder = tmp_path / f"{form}-{nested}"
        shutil.copytree(tiny("qwen3_vl" if form == "qwen3-vl" else "qwen2_5_vl"), folder)
        return write_processor(folder, FORMS[form], nested=nested)

    return make


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_images_are_resized_as_qwen_resizes_to_the_limits_asked_for(hub: Any, form: str, nested: bool) -> None:
    folder = hub(form, nested=nested)
    for (factor, least, most), grids in GRIDS.items():
        if factor != (32 if form == "qwen3-vl" else 28):
            continue
        processor = load_image_processor(folder, least, most)
        for (width, height), (across, down) in grids.items():
            made = processor(images=[Image.new("RGB", (width, height))], return_tensors="np")
            assert made["image_grid_thw"].tolist() == [[1, down, across]], (width, height, most)
            assert processor.get_number_of_image_patches(height, width) == across * down


def test_limits_decide_scores_and_a_page_fits(hub: Any) -> None:
    folder, page = hub("qwen2.5-vl"), Item("", picture(1700, 2400, 1))
    scores, tokens = [], []
    for limit in (
        {},
        {"max_pixels": "25088"},
        {"max_pixels": "100352"},
        {"min_pixels": "501760", "max_pixels": "501760"},
    ):
        reranker = load_reranker("gmr-7b", {"path": str(folder), "device": "cpu", **limit})
        scores += dict(reranker.target.score_stream([Request(INSTRUCTION, Item("q"), [page], 0)]))[0]
        tokens.append(reranker.target.engine.extractor.tokens(page.image))
        reranker.close()
    assert tokens[:3] == [60 * 84 // 4, 8 * 12 // 4, 18 * 26 // 4]
    assert len(set(scores)) == 4


@pytest.mark.parametrize("form", ["qwen2.5-vl", "qwen3-vl", "first-weeks"])
def test_the_dry_run_of_a_training_counts_the_tokens_that_training_has(form: str, hub: Any, tmp_path: Path) -> None:
    def item(width: int, height: int) -> TrainingItem:
        return TrainingItem(Item("", picture(width, height, width)))

    sizes = [(1000, 800), (200, 200), (20, 30), (1, 1), (700, 10)]
    text = TrainingItem(Item("words"))
    group = TrainingGroup("", "own", text, [item(*sizes[0])], [item(*size) for size in sizes[1:]])
    groups = tmp_path / "groups.jsonl"
    write_groups(groups, iter([group] * 4))
    changes = ("sampling.negatives=4", "model.max_pixels=25088", "memory.queries=1", "schedule.queries=1")
    recipe = recipe_of(tmp_path, hub(form), groups, changes).recipe
    parts = parts_of_recipe(recipe)
    assert parts.extractor is not None
    prepared = prepare(recipe.data)
    lengths = measure_lengths(recipe, parts.prompter.layout, prepared, 1)
    images = [one.item.image for one in (*group.positives, *group.negatives) if one.item.image is not None]
    features = parts.extractor.fresh(images)
    real = {image.sha256: features[image.sha256].embeds.shape[0] for image in images}
    assert lengths.exact
    assert lengths.images == sum(real.values())
    counted = [parts.prompter.prompts("", [(text.item, Item("", image))])[0] for image in images]
    assert sorted(lengths.tokens.tolist()) == sorted(len(prompt.ids) for prompt in counted)
    # By Qwen's own rule: 10 x 12 patches for the first image.
    assert form == "qwen3-vl" or real[images[0].sha256] == 10 * 12 // 4
    parts.extractor.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"do_resize": False}, "does not resize images to between 3136 and 25088 pixels .do_resize is false"),
        ({"image_processor_type": "CLIPImageProcessor", "size": 224}, "not an image processor of the Qwen-VL kind"),
        ({"image_processor_type": "NoSuchProcessor"}, "no image processor"),
        ({"merge_size": 0}, "not an image processor of the Qwen-VL kind"),
    ],
)
def test_a_processor_that_does_not_keep_the_limits_is_refused(hub: Any, change: Any, words: str) -> None:
    folder = write_processor(hub("qwen2.5-vl"), FORMS["qwen2.5-vl"] | change)
    with pytest.raises(AdapterError, match=words):
        load_image_processor(folder, 3136, 25088)


# As openai/clip-vit-base-patch32 and google/siglip-so400m-patch14-384 have them.
CLIP = {
    **PIXELS,
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "resample": 3,
    "size": 224,
}
SIGLIP = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "SiglipImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "SiglipProcessor",
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 384, "width": 384},
}


@pytest.mark.parametrize(("content", "side"), [(CLIP, 224), (SIGLIP, 384)])
def test_the_processors_of_two_towers_make_what_the_towers_take(
    content: dict[str, Any], side: int, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{}")
    for nested in (False, True):
        folder = write_processor(tmp_path, content, nested=nested)
        processor = load_plain_image_processor(folder, side)
        for size in ((1, 1), (300, 7), (1000, 800)):
            made = processor(images=Image.new("RGB", size), return_tensors="np")["pixel_values"]
            assert made.shape == (1, 3, side, side)
        with pytest.raises(AdapterError, match=f"{side} x {side} pixels, the vision tower takes 336 x 336"):
            load_plain_image_processor(folder, 336)
