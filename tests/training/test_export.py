"""What was trained, saved: MRB's engine and sentence-transformers score it as training did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from mrb.data.items import Item
from mrb.engine.head import ROWS_FILE
from mrb.errors import TrainingError
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.reranker import Request
from mrb.training.run import Components
from mrb.training.validation import LiveReranker
from tests.builders.requests import INSTRUCTION, mixed, texts
from tests.builders.training import parts_of_recipe, recipe_of, toy_groups

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]
CL = ("loss.name=contrastive", "model.layout=gmr-cl")
TOKENS = ("rows.yes=['yes', 'True']", "rows.no=['no', 'False']")
FULL = ("tuning.method=full", "tuning.embeddings=trained")
CASES: dict[str, tuple[str, tuple[str, ...], bool]] = {
    # architecture, changes, whether label rows lie beside the weights
    "lora": ("qwen2_5_vl", (), False),
    "lora, contrastive": ("qwen2_5_vl", CL, False),
    "lora, rows that learn": ("qwen2_5_vl", ("rows.trainable=true",), True),
    "lora, random rows, contrastive": ("qwen2_vl", (*CL, "rows.start=random"), True),
    "lora, more tokens": ("qwen2_5_vl", TOKENS, True),
    "whole": ("qwen2_5_vl", (*FULL, "tuning.vision=trained"), False),
    "whole, rows that learn, apart": ("qwen2_5_vl", (*FULL, "rows.trainable=true"), False),
    "whole, rows that learn, tied": ("qwen2_vl", ("tuning.method=full", "rows.trainable=true"), True),
    "whole, tied, embeddings that learn": ("qwen2_vl", FULL, True),
    "whole, tied": ("qwen2_vl", ("tuning.method=full",), False),
    "whole, other features": ("qwen3_vl", (*FULL, "tuning.vision=trained"), True),
    "text lora": ("qwen3", (), False),
}


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_groups(tmp_path_factory.mktemp("groups"))


@pytest.fixture
def moved(tmp_path: Path, tiny: Tiny, groups: Path) -> Callable[..., Components]:
    """`moved(architecture, changes)`: parts of a recipe whose parameters have been moved, as by training."""

    def make(architecture: str, changes: Sequence[str]) -> Components:
        parts = parts_of_recipe(recipe_of(tmp_path, tiny(architecture), groups, changes).recipe)
        shake(parts)
        return parts

    return make


def shake(parts: Components, seed: int = 3) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, values in parts.learner.list_trained():
            values += 0.03 * torch.randn(values.shape, generator=generator)


def scores(reranker: Any, requests: Sequence[Request]) -> list[float]:
    found = dict(reranker.score_stream(iter(requests)))
    return [score for request in requests for score in found[request.key]]


@pytest.mark.parametrize("case", CASES)
def test_the_engine_scores_what_was_saved_as_training_does(moved: Any, tmp_path: Path, case: str) -> None:
    architecture, changes, beside = CASES[case]
    parts = moved(architecture, changes)
    requests = texts()[:2] if parts.processor is None else mixed()[1:2]
    live = LiveReranker(parts.learner.eval(), parts.prompter, parts.processor)
    wanted = scores(live, requests)
    folder = tmp_path / "saved"
    parts.exporter.save(folder)
    assert (folder / ROWS_FILE).is_file() == beside
    layout = "gmr-cl" if "contrastive" in case else "gmr"
    options = {"path": str(folder), "layout": layout, "max_pixels": "9408", "max_length": "400"}
    found = scores(load_reranker("yes-no", options).target, requests)
    assert found == pytest.approx(wanted, abs=2e-5)
    assert len({round(score, 3) for score in wanted}) > len(wanted) // 2


def test_a_state_comes_back_exactly_and_another_is_refused(moved: Any, tmp_path: Path) -> None:
    parts = moved("qwen2_5_vl", ("rows.trainable=true",))
    wanted = {name: values.detach().clone() for name, values in parts.learner.list_trained()}
    parts.exporter.save_state(tmp_path)
    shake(parts, seed=4)
    parts.exporter.load(tmp_path)
    for name, values in parts.learner.list_trained():
        assert values.equal(wanted[name]), name
    other = moved("qwen2_5_vl", ())
    with pytest.raises(TrainingError, match=r"rows\.no is missing there, or nothing"):
        other.exporter.load(tmp_path)
    with pytest.raises(TrainingError, match="training cannot continue from it"):
        other.exporter.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [("qwen3", ("tuning.method=full",)), ("qwen3", ()), ("qwen2", CL)],
    ids=["whole", "lora", "contrastive"],
)
def test_a_text_model_is_a_cross_encoder(moved: Any, tmp_path: Path, architecture: str, changes: Any) -> None:
    from sentence_transformers import CrossEncoder

    parts = moved(architecture, changes)
    folder = tmp_path / "saved"
    parts.exporter.save(folder)
    assert (folder / "modules.json").is_file()
    live = LiveReranker(parts.learner.eval(), parts.prompter, None)
    query = "capital of\nFrance?"
    documents = ["Paris is the capital.", "no", "Grüße, 世界 🙂", " a  b\n\n c ", "{{ messages }} {% raw %}"]
    # The published base states bfloat16, in which LoRA weights on it are loaded unless float32 is asked for.
    encoder = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    for instruction in (INSTRUCTION, ""):
        request = Request(instruction, Item(query), [Item(text) for text in documents], 1)
        found = encoder.predict([(query, text) for text in documents], prompt=instruction or None)
        assert found.tolist() == pytest.approx(scores(live, [request]), abs=2e-5)


def test_a_model_that_others_would_score_wrongly_is_no_cross_encoder(moved: Any, tmp_path: Path) -> None:
    parts = moved("qwen3", ("rows.trainable=true",))
    parts.exporter.save(tmp_path / "saved")
    assert (tmp_path / "saved" / ROWS_FILE).is_file()
    assert not (tmp_path / "saved" / "modules.json").exists()


def test_lora_weights_name_their_base(moved: Any, tmp_path: Path, tiny: Tiny) -> None:
    import json

    parts = moved("qwen2_5_vl", ())
    parts.exporter.save(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny("qwen2_5_vl").resolve())
