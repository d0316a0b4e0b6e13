"""LoRA weights on a base: loaded whole, under the names of today and of before, or refused by name."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mrb.baselines.rerankers.yes_no import AnyYesNo
from mrb.data.items import Item
from mrb.errors import AdapterError
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.reranker import Request
from tests.builders import museum
from tests.builders.by_hand import LIMITS
from tests.builders.requests import texts

pytestmark = pytest.mark.torch

Weights = dict[str, torch.Tensor]
Tiny = Callable[[str], Path]


def changed(source: Path, folder: Path, change: Callable[[Weights], Weights], **config: Any) -> Path:
    shutil.copytree(source, folder)
    weights = change(load_file(folder / "adapter_model.safetensors"))
    save_file(weights, folder / "adapter_model.safetensors")
    stated = json.loads((folder / "adapter_config.json").read_text()) | config
    (folder / "adapter_config.json").write_text(json.dumps(stated))
    return folder


def scores(folder: Path, **options: str) -> dict[int, list[float]]:
    limits = {key: str(value) for key, value in LIMITS.items()}
    reranker = load_reranker("monoqwen2-vl", {"path": str(folder), "device": "cpu", **limits, **options})
    try:
        return dict(reranker.target.score_stream(texts()))
    finally:
        reranker.close()


def new_names(weights: Weights) -> Weights:
    return {name.replace(".model.layers.", ".model.language_model.layers."): value for name, value in weights.items()}


def test_names_of_older_and_later_releases_are_the_same_weights(tiny: Tiny, tmp_path: Path) -> None:
    """lightonai/MonoQwen2-VL-v0.1 was saved before the language model had a module of its own."""
    targets = "(.*(model).*(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj).*$)"
    new = changed(tiny("mono_lora"), tmp_path / "new", new_names, target_modules=targets)
    held = load_file(new / "adapter_model.safetensors")
    assert "base_model.model.model.language_model.layers.0.mlp.down_proj.lora_A.weight" in held
    assert scores(new) == scores(tiny("mono_lora"))


@pytest.mark.parametrize("name", ["swift_lora", "colqwen_lora"])
def test_targets_given_as_a_pattern_of_older_names_are_the_same_weights(name: str, tiny: Tiny, tmp_path: Path) -> None:
    """Patterns that public checkpoints state; with the list's own scale they give the scores of the list."""
    by_list = json.loads((tiny("mono_lora") / "adapter_config.json").read_text())
    same = {key: by_list[key] for key in ("lora_alpha", "r", "base_model_name_or_path")}
    folder = changed(tiny(name), tmp_path / name, lambda weights: weights, **same)
    assert scores(folder) == scores(tiny("mono_lora"))


def test_the_base_that_the_hub_names_is_replaced_by_the_users(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = tiny("mono_lora")
    folder = changed(published, tmp_path / "lora", lambda w: w, base_model_name_or_path="Qwen/Qwen2-VL-2B-Instruct")
    monkeypatch.setenv("MRB_OFFLINE", "1")
    with pytest.raises(AdapterError, match=r"base_model_name_or_path: .*; name the base: --set base="):
        scores(folder)
    assert scores(folder, base=str(published.parent / "mono_base")) == scores(published)


def first(weights: Weights) -> str:
    return min(weights)


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        (
            lambda w: {n: v for n, v in w.items() if n != first(w)},
            {},
            r"missing .*lora_A.*differ from the trained model",
        ),
        (
            lambda w: w | {first(w).replace("layers.0", "layers.9"): torch.zeros(4, 128)},
            {},
            r"layers\.9\.\S+ \(1 such weights\) belongs to no part of the model",
        ),
        (lambda w: w | {first(w): torch.zeros(5, 128)}, {}, r"cannot be loaded: .*size mismatch for .*lora_A"),
        (lambda w: w, {"target_modules": ["nothing"]}, r"cannot be loaded: .*nothing"),
        (lambda w: w, {"peft_type": "UNHEARD_OF"}, r"cannot be loaded"),
        (
            lambda w: w,
            {"base_model_name_or_path": ""},
            r"base_model_name_or_path is not stated; name the base: --set base=",
        ),
    ],
    ids=["missing", "left over", "shape", "no module", "no such method", "no base"],
)
def test_what_does_not_fit_is_refused(
    change: Callable[[Weights], Weights], config: dict[str, Any], message: str, tiny: Tiny, tmp_path: Path
) -> None:
    folder = changed(tiny("mono_lora"), tmp_path / "lora", change, **config)
    with pytest.raises(AdapterError, match=message) as caught:
        scores(folder)
    assert "\n" not in str(caught.value)


def test_a_weight_that_the_base_lacks_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny("mono_lora").parent / "mono_base", base)
    weights = museum.read_weights(base)
    weights.pop("model.norm.weight")
    museum.write_weights(base, weights)
    folder = changed(tiny("mono_lora"), tmp_path / "lora", lambda w: w, base_model_name_or_path=str(base))
    with pytest.raises(AdapterError, match=r"holds no model\.\S*norm\.weight"):
        scores(folder)


def trained(base: Path, folder: Path, **config: Any) -> Any:
    """peft's own model with random weights in everything that trains, saved to `folder`."""
    import transformers
    from peft import LoraConfig, get_peft_model

    seeing = "vision_config" in json.loads((base / "config.json").read_text())
    loader = transformers.AutoModelForImageTextToText if seeing else transformers.AutoModelForCausalLM
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    with warnings.catch_warnings(action="ignore"):
        tuned = get_peft_model(loader.from_pretrained(base).float(), LoraConfig(**settings | config))
        torch.manual_seed(3)
        with torch.no_grad():
            for values in tuned.parameters():
                if values.requires_grad:
                    values.add_(torch.randn_like(values) * 0.1)
        tuned.eval().requires_grad_(False).save_pretrained(folder)
    return tuned


KINDS: dict[str, dict[str, Any]] = {
    "head saved": {"modules_to_save": ["lm_head"]},
    "embeddings saved": {"modules_to_save": ["embed_tokens"]},
    "both saved": {"modules_to_save": ["lm_head", "embed_tokens"]},
    "saved and tied": {"modules_to_save": ["lm_head"], "ensure_weight_tying": True},
    "embeddings saved and tied": {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "head and embeddings": {"target_modules": ["lm_head", "embed_tokens"]},
    "embeddings tied": {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
    "head, pattern": {"target_modules": r".*(q_proj|lm_head)"},
    "dora": {"use_dora": True},
    "dora on the head": {"use_dora": True, "target_modules": ["lm_head"]},
    "rslora": {"use_rslora": True, "target_modules": ["q_proj", "lm_head"]},
    "bias": {"bias": "all"},
    "bias of the layers": {"bias": "lora_only"},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 32}},
    "some layers": {"layers_to_transform": [1], "target_modules": ["down_proj", "q_proj"]},
    "norms saved": {"modules_to_save": ["norm"]},
}


def by_peft(tuned: Any, reranker: Any, base: Path, request: Request) -> list[float]:
    """The trained model's logit of yes minus that of no, from its own forward over the whole vocabulary."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    yes, no = tokenizer(["yes", "no"], add_special_tokens=False)["input_ids"]
    found = []
    for document in request.candidates:
        (prompt,) = reranker.engine.prompter.prompts(request.instruction, [(request.query, document)])
        logits = tuned(input_ids=torch.tensor([prompt.ids.tolist()])).logits[0, -1]
        found.append(float(logits[yes[0]] - logits[no[0]]))
    return found


REQUEST = Request("Find it.", Item("what is a cat"), [Item("a small animal"), Item("latin small letter")], 0)


CASES = [("qwen3", kind) for kind in KINDS]
CASES += [("qwen2", kind) for kind in ("head", "bias", "bias of the layers", "embeddings saved and tied")]
CASES += [("qwen3_vl", kind) for kind in ("head", "embeddings", "both saved", "saved and tied", "head, pattern")]


@pytest.mark.parametrize(("architecture", "kind"), CASES)
def test_the_merged_model_is_the_trained_one(architecture: str, kind: str, tiny: Tiny, tmp_path: Path) -> None:
    """Bases with a tied head (qwen3, qwen3_vl) and without, with biases (qwen2); peft's forward is the reference."""
    tuned = trained(tiny(architecture), tmp_path / "lora", **KINDS[kind])
    reranker = AnyYesNo(path=str(tmp_path / "lora"), layout="gmr", device="cpu", dtype="float32")
    found = list(reranker.score(REQUEST))
    wanted = by_peft(tuned, reranker, tiny(architecture), REQUEST)
    reranker.close()
    assert found == pytest.approx(wanted, abs=2e-5)


def test_trained_tokens_are_those_of_the_trained_model(tiny: Tiny, tmp_path: Path) -> None:
    """Rows of a tied table: those of both labels, and of tokens of the prompt."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny("qwen3"))
    tokens = tokenizer("yes no what is a cat", add_special_tokens=False)["input_ids"]
    labels = [ids[0] for ids in tokenizer(["yes", "no"], add_special_tokens=False)["input_ids"]]
    chosen = sorted({*tokens, *labels})
    tuned = trained(tiny("qwen3"), tmp_path / "lora", trainable_token_indices=chosen)
    plain = trained(tiny("qwen3"), tmp_path / "plain")
    reranker = AnyYesNo(path=str(tmp_path / "lora"), layout="gmr", device="cpu", dtype="float32")
    found = list(reranker.score(REQUEST))
    wanted, without = (by_peft(model, reranker, tiny("qwen3"), REQUEST) for model in (tuned, plain))
    reranker.close()
    assert found == pytest.approx(wanted, abs=2e-5)
    assert found != pytest.approx(without, abs=0.1)


def refusal(path: Path, **options: str) -> str:
    with pytest.raises(AdapterError) as caught:
        AnyYesNo(path=str(path), layout="gmr", device="cpu", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_two_values_for_one_tied_weight_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    """As a trainer with an untied base writes them; peft puts both into the one weight of a tied base."""
    trained(tiny("qwen3"), tmp_path / "source", target_modules=["lm_head", "embed_tokens"])

    def other_head(weights: Weights) -> Weights:
        name = "base_model.model.lm_head.base_layer.weight"
        return weights | {name: weights[name] + 1}

    said = refusal(changed(tmp_path / "source", tmp_path / "lora", other_head))
    assert "has other values than the weight that the base ties it to" in said


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"scale_by_depth": 0.5}, "adapter_config.json: peft .* does not know scale_by_depth; update peft"),
        ({"rank_pattern": {"q_prj": 2}}, "peft warns: .*rank_pattern keys did not match.*q_prj"),
        ({"alpha_pattern": {"gate": 2}}, "peft warns: .*alpha_pattern keys did not match.*gate"),
        ({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3}, "cannot be loaded"),
        ({"alora_invocation_tokens": [5]}, "cannot be loaded: .*[Mm]erg"),
    ],
    ids=["setting of a later release", "rank of no layer", "alpha of no layer", "no LoRA", "cannot be merged"],
)
def test_settings_that_would_be_ignored_are_refused(
    config: dict[str, Any], message: str, tiny: Tiny, tmp_path: Path
) -> None:
    trained(tiny("qwen3"), tmp_path / "source")
    assert re.search(message, refusal(changed(tmp_path / "source", tmp_path / "lora", lambda w: w, **config)))


def test_unset_settings_of_a_later_release_are_ignored(tiny: Tiny, tmp_path: Path) -> None:
    trained(tiny("qwen3"), tmp_path / "source")
    folder = changed(tmp_path / "source", tmp_path / "lora", lambda w: w, scale_by_depth=None, others={}, more=False)
    AnyYesNo(path=str(folder), layout="gmr", device="cpu").close()


@pytest.mark.parametrize("named", ["/home/trainer/base", "C:\\\\models\\\\base", "", None, "../base", "me/base"])
def test_the_base_can_be_named(named: str | None, tiny: Tiny, tmp_path: Path) -> None:
    """As the trainer's machine wrote its path; without the option the message names file and option."""
    trained(tiny("qwen3"), tmp_path / "source")
    folder = changed(tmp_path / "source", tmp_path / "lora", lambda w: w, base_model_name_or_path=named)
    said = refusal(folder)
    assert f"{folder}/adapter_config.json: base_model_name_or_path" in said
    assert said.endswith("name the base: --set base=FOLDER or ORGANISATION/NAME")
    scores = [
        reranker.score(REQUEST)
        for reranker in (
            AnyYesNo(path=str(folder), layout="gmr", device="cpu", base=str(tiny("qwen3"))),
            AnyYesNo(path=str(tmp_path / "source"), layout="gmr", device="cpu"),
        )
    ]
    assert list(scores[0]) == list(scores[1])


def test_a_base_that_is_none_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    trained(tiny("qwen3"), tmp_path / "lora")
    base = str(tiny("qwen3"))
    assert "holds no LoRA weights" in refusal(tiny("qwen3"), base=base)
    assert "holds no LoRA weights" in refusal(tiny("qwen3"), base_revision="0" * 40)
    assert "holds LoRA weights itself" in refusal(tmp_path / "lora", base=str(tmp_path / "lora"))
    assert "base_revision is for repositories" in refusal(tmp_path / "lora", base=base, base_revision="0" * 40)
    assert "no such folder" in refusal(tmp_path / "lora", base=str(tmp_path / "gone"))
    assert "--set base_revision=COMMIT" in refusal(tmp_path / "lora", base="Qwen/Qwen3-0.6B")


def test_a_folder_without_lora_weights_is_named(tiny: Tiny, tmp_path: Path) -> None:
    folder = changed(tiny("mono_lora"), tmp_path / "empty", new_names)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(AdapterError, match=r"empty: holds adapter_config.json and no LoRA weights"):
        scores(folder)


def test_pickled_weights_beside_lora_weights_are_not_loaded_and_told(
    tiny: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = changed(tiny("mono_lora"), tmp_path / "two", lambda weights: weights)
    torch.save({}, folder / "adapter_model.bin")
    assert scores(folder) == scores(tiny("mono_lora"))
    assert "adapter_model.safetensors is loaded; adapter_model.bin in the same folder is not" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_lora_weights_that_are_no_numbers_are_refused_as_such(tiny: Tiny, tmp_path: Path, value: float) -> None:
    folder = changed(
        tiny("mono_lora"), tmp_path / "nan", lambda weights: {n: v * 0 + value for n, v in weights.items()}
    )
    with pytest.raises(AdapterError, match="NaN or infinite values"):
        scores(folder)
