"""What was trained, saved: MRB's engine and sentence-transformers score it as training did."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrb.data.items import Item
from mrb.engine.head import ROWS_FILE
from mrb.engine.published_prompts import LAYOUTS
from mrb.errors import AdapterError, TrainingError
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.reranker import Request
from mrb.training.export import make_vllm_overrides
from mrb.training.memory_estimate import find_config_folder
from mrb.training.run import Components
from mrb.training.snippet import make_snippet
from mrb.training.validation import LiveReranker
from tests.builders.requests import INSTRUCTION, LONG, mixed, texts
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
    parts = moved("qwen2_5_vl", ())
    parts.exporter.save(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny("qwen2_5_vl").resolve())


def pairs() -> tuple[list[str], list[list[str]]]:
    """20 queries with 10 documents each; one document of each query is far over-long."""
    rng = np.random.default_rng(5)

    def text(length: int) -> str:
        return " ".join(f"word{number}" for number in rng.integers(0, 400, length))

    lengths = [*range(2, 20, 2), 500]
    return [text(1 + n // 2) for n in range(20)], [[text(n) for n in lengths] for _ in range(20)]


def run_snippet(folder: Path, layout: str, pixels: tuple[int, int] | None) -> Any:
    """The function of the code for transformers."""
    known = {layout.name: layout for layout in LAYOUTS}
    code = make_snippet(known[layout], folder=str(folder), max_length=400, pixels=pixels)
    assert code is not None
    names: dict[str, Any] = {}
    exec(compile(code, "snippet", "exec"), names)
    return names["score"]


@pytest.mark.parametrize("changes", [("tuning.method=full",), (), CL], ids=["whole", "lora", "contrastive"])
def test_200_pairs_have_equal_scores_in_three_programs(moved: Any, tmp_path: Path, changes: Any) -> None:
    from sentence_transformers import CrossEncoder

    parts = moved("qwen3", changes)
    folder = tmp_path / "saved"
    parts.exporter.save(folder)
    layout = "gmr-cl" if changes == CL else "gmr"
    queries, documents = pairs()
    requests = [
        Request(INSTRUCTION, Item(query), [Item(text) for text in own], key)
        for key, (query, own) in enumerate(zip(queries, documents, strict=True))
    ]
    options = {"path": str(folder), "layout": layout, "max_length": "400", "dtype": "float32"}
    wanted = scores(load_reranker("yes-no", options).target, requests)
    both = [(query, text) for query, own in zip(queries, documents, strict=True) for text in own]
    encoder = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    found = encoder.predict(both, prompt=INSTRUCTION, batch_size=10)
    score = run_snippet(folder, layout, None)
    alone = [score(INSTRUCTION, query, text) for query, text in both]
    assert len(wanted) == 200 and sum(prompt.cut > 0 for prompt in cut_prompts(parts, both)) == 20
    worst = [float(np.abs(np.array(other) - wanted).max()) for other in (found, alone)]
    print("largest difference: CrossEncoder", worst[0], "transformers", worst[1])
    assert max(worst) < 2e-5


def cut_prompts(parts: Components, both: Sequence[tuple[str, str]]) -> Any:
    return parts.prompter.prompts(INSTRUCTION, [(Item(query), Item(text)) for query, text in both])


@pytest.mark.parametrize("architecture", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_transformers_scores_images_as_mrb_does(moved: Any, tmp_path: Path, architecture: str) -> None:
    layout = "qwen3-vl-reranker" if architecture == "qwen3_vl" else "gmr"
    parts = moved(architecture, (f"model.layout={layout}",))
    folder = tmp_path / "saved"
    parts.exporter.save(folder)
    assert not (folder / "modules.json").exists()
    options = {"path": str(folder), "layout": layout, "max_pixels": "9408", "max_length": "400", "dtype": "float32"}
    wanted = scores(load_reranker("yes-no", options).target, mixed())
    score = run_snippet(folder, layout, (3136, 9408))

    def side(item: Item) -> dict[str, Any]:
        shown = {"image": item.image.open().convert("RGB")} if item.image is not None else {}
        return shown | ({"text": item.text} if item.text else {})

    found = [
        score(request.instruction, side(request.query), side(d)) for request in mixed() for d in request.candidates
    ]
    print("largest difference", float(np.abs(np.array(found) - wanted).max()))
    assert found == pytest.approx(wanted, abs=2e-5)


def test_vllms_rule_for_the_head_gives_the_scores(moved: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, Qwen3ForSequenceClassification

    parts = moved("qwen3", ("tuning.method=full",))
    folder = tmp_path / "saved"
    parts.exporter.save(folder)
    said = json.loads(make_vllm_overrides(folder, parts.prompter.layout) or "{}")
    assert said["architectures"] == ["Qwen3ForSequenceClassification"]
    tokenizer = parts.prompter.tokenizer
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    no, yes = (tokenizer.convert_tokens_to_ids(token) for token in said["classifier_from_token"])
    config = Qwen3ForSequenceClassification.config_class.from_pretrained(folder, num_labels=1)
    classifier = Qwen3ForSequenceClassification(config).eval()
    classifier.model.load_state_dict(model.model.state_dict())
    with torch.no_grad():
        classifier.score.weight.copy_(model.lm_head.weight[[yes]] - model.lm_head.weight[[no]])
        both = [("capital of France?", "Paris."), ("what?", LONG)]
        found = [
            float(classifier(input_ids=torch.from_numpy(prompt.ids)[None]).logits)
            for prompt in cut_prompts(parts, both)
        ]
    score = run_snippet(folder, "gmr", None)
    assert found == pytest.approx([score(INSTRUCTION, *pair) for pair in both], abs=2e-5)


ROWS = "rows.trainable=true"


@pytest.mark.parametrize(
    ("architecture", "changes", "beside"),
    [("qwen2_5_vl", (ROWS,), False), ("qwen2_vl", (ROWS,), True), ("qwen3", (), False)],
    ids=["untied, rows", "tied, rows", "text"],
)
def test_merged_weights_score_as_lora_weights_do(
    moved: Any, tmp_path: Path, architecture: str, changes: Any, beside: bool
) -> None:
    parts = moved(architecture, (*changes, "output.merge=true"))
    requests = texts()[:2] if parts.processor is None else mixed()[1:2]
    live = LiveReranker(parts.learner.eval(), parts.prompter, parts.processor)
    wanted = scores(live, requests)
    parts.exporter.save(tmp_path / "merged")
    parts.exporter.save(tmp_path / "checkpoint-1", final=False)
    assert scores(live, requests) == wanted  # the model in training is as it was
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    assert (tmp_path / "checkpoint-1" / "adapter_config.json").exists()
    assert (tmp_path / "merged" / ROWS_FILE).is_file() == beside
    assert (tmp_path / "merged" / "modules.json").is_file() == (parts.processor is None)
    options = {"path": str(tmp_path / "merged"), "layout": "gmr", "max_pixels": "9408", "max_length": "400"}
    found = scores(load_reranker("yes-no", options).target, requests)
    print("largest difference", max(abs(a - b) for a, b in zip(found, wanted, strict=True)))
    assert found == pytest.approx(wanted, abs=1e-5)


def test_a_second_stage_starts_where_the_first_one_ended(moved: Any, tmp_path: Path, tiny: Tiny, groups: Path) -> None:
    first = moved("qwen2_5_vl", (ROWS,))
    wanted = scores(LiveReranker(first.learner.eval(), first.prompter, first.processor), mixed()[1:2])
    first.exporter.save(tmp_path / "first")

    def begin(*changes: str) -> Components:
        loaded = recipe_of(tmp_path, tmp_path / "first", groups, changes)
        assert find_config_folder(loaded.recipe) == tiny("qwen2_5_vl").resolve()
        return parts_of_recipe(loaded.recipe)

    second = begin(ROWS)
    trained = dict(first.learner.list_trained())
    for name, values in second.learner.list_trained():
        assert values.equal(trained.pop(name)), name
    assert not trained
    assert scores(LiveReranker(second.learner.eval(), second.prompter, second.processor), mixed()[1:2]) == wanted
    second.exporter.save(tmp_path / "second")
    stated = json.loads((tmp_path / "second" / "adapter_config.json").read_text())
    assert stated["base_model_name_or_path"] == str(tiny("qwen2_5_vl").resolve())

    whole = begin("tuning.method=full")
    assert not whole.learner.has_lora
    found = scores(LiveReranker(whole.learner.eval(), whole.prompter, whole.processor), mixed()[1:2])
    assert found == pytest.approx(wanted, abs=1e-5)

    with pytest.raises(TrainingError, match=r"first: its LoRA weights have r 4, but tuning\.rank is 6"):
        begin("tuning.rank=6")
    with pytest.raises(AdapterError, match=r"LoRA weights cannot be loaded|belongs to no part"):
        begin("tuning.targets=.*q_proj")
