"""Several images of one item: token ids, positions and scores are those of transformers' own processor and model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.image_utils import SizeDict

from mrb.data.items import Item
from mrb.engine.backbone import make_row
from mrb.engine.prompt import Prompter
from mrb.engine.published_prompts import GMR, QWEN3_VL
from mrb.errors import AdapterError, DataError
from mrb.rerankers.declaration import LoadedReranker
from mrb.rerankers.reranker import Request
from tests.builders import museum
from tests.builders.by_hand import JUDGE, LIMITS
from tests.builders.requests import INSTRUCTION, picture

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]
Load = Callable[..., LoadedReranker]
TEMPLATES = json.loads((museum.HERE / "chat_templates.json").read_text(encoding="utf-8"))["templates"]
PAGES = [picture(60, 90, 1), picture(120, 40, 2), picture(60, 60, 3)]
QUERY = Item("which pages?", images=PAGES[2:])
DOCUMENTS = [Item("", images=PAGES[:2]), Item("their text", images=PAGES), Item("", images=[PAGES[1], PAGES[0]])]
FAMILIES = {
    "qwen2_5_vl": (transformers.Qwen2_5_VLProcessor, "qwen2_vl", GMR),
    "qwen3_vl": (transformers.Qwen3VLProcessor, "qwen3_vl", QWEN3_VL),
}


def parts(item: Item) -> list[dict[str, Any]]:
    """The images before the text, as in the authors' `format_mm_content`."""
    shown = [{"type": "image", "image": image.open()} for image in item.images]
    return [*shown, *([{"type": "text", "text": item.text}] if item.text else [])]


def conversation(document: Item) -> list[dict[str, Any]]:
    lead = [{"type": "text", "text": f"<Instruct>: {INSTRUCTION}"}, {"type": "text", "text": "<Query>:"}]
    user = [*lead, *parts(QUERY), {"type": "text", "text": "\n<Document>:"}, *parts(document)]
    return [{"role": "system", "content": [{"type": "text", "text": JUDGE}]}, {"role": "user", "content": user}]


@pytest.mark.parametrize("family", FAMILIES)
def test_several_images_are_what_the_processor_and_the_model_of_transformers_make_of_them(
    family: str, tiny: Tiny, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, template, layout = FAMILIES[family]
    folder = tiny(family)
    images = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    images.size = SizeDict(shortest_edge=LIMITS["min_pixels"], longest_edge=LIMITS["max_pixels"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    # Its check of the video processor's class needs torchvision. No video is shown.
    monkeypatch.setattr(kind, "check_argument_for_proper_class", lambda *_: None)
    processor = kind(images, tokenizer, chat_template=TEMPLATES[template])
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()

    reranker = load("yes-no", folder, layout=layout.name)
    engine = reranker.target.engine
    prompter: Prompter = engine.prompter
    scores = dict(reranker.target.score_stream([Request(INSTRUCTION, QUERY, DOCUMENTS, 1)]))[1]
    yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
    for document, score in zip(DOCUMENTS, scores, strict=True):
        row = processor.apply_chat_template(
            conversation(document), add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        (prompt,) = prompter.prompts(INSTRUCTION, [(QUERY, document)])
        assert prompt.ids.tolist() == row["input_ids"][0].tolist()
        assert [placed.image for placed in prompt.images] == [*QUERY.images, *document.images]
        features = engine.extractor.features([placed.image for placed in prompt.images])
        types = {"mm_token_type_ids": (row["input_ids"] == model.config.image_token_id).int()}
        positions, _ = model.model.get_rope_index(row["input_ids"], image_grid_thw=row["image_grid_thw"], **types)
        np.testing.assert_array_equal(make_row(prompt, features).positions, positions[:, 0].numpy())
        with torch.inference_mode():
            logits = model(**{**row, **types}).logits[0, -1].float()
        assert score == pytest.approx(float(logits[yes] - logits[no]), abs=2e-4)
    assert len({round(score, 3) for score in scores}) == 3  # the order of the images matters


def test_a_model_of_one_image_takes_no_item_with_two(tiny: Tiny, load: Load) -> None:
    assert load("gmr-7b", tiny("qwen2_5_vl")).info.max_images == 1
    assert load("yes-no", tiny("qwen3_vl"), layout="qwen3-vl-reranker").info.max_images is None


def test_images_that_do_not_fit_together_are_named_before_the_run(tiny: Tiny, load: Load) -> None:
    target = load("yes-no", tiny("qwen3_vl"), layout="qwen3-vl-reranker", max_length=60).target
    target.check_item(Item("", PAGES[0]))
    with pytest.raises(AdapterError, match=r"27 images of \d+ tokens do not fit into max_length=60"):
        target.check_item(Item("", images=PAGES * 9))
    with pytest.raises((AdapterError, DataError), match="cannot be cut to max_length=60"):
        list(target.score_stream([Request("", Item("q"), [Item("", images=PAGES * 9)], 1)]))
