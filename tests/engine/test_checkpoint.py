"""Checkpoints as people leave them on disk: stale files beside the model's, a head that the configuration calls tied,
folders whose path reads as an id of the Hub. What transformers would decide silently is refused by name, or said.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from mrb.baselines.rerankers.yes_no import AnyYesNo
from mrb.data.items import Item
from mrb.engine.checkpoint import read_weights
from mrb.engine.published_prompts import BGE_GEMMA
from mrb.errors import AdapterError
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.plugins import RERANKERS, RETRIEVERS, load_adapter
from mrb.rerankers.reranker import Request
from mrb.training.model import find_start
from mrb.training.recipe import load_recipe
from tests.builders import museum

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]
REQUEST = Request("Find it.", Item("what is a cat"), [Item("a small animal"), Item("latin small letter")], 0)


def scores(path: Path | str, layout: str = "gmr", **options: str) -> list[float]:
    reranker = AnyYesNo(path=str(path), layout=layout, device="cpu", **options)
    try:
        return list(reranker.score(REQUEST))
    finally:
        reranker.close()


def refusal(make: Callable[[], Any]) -> str:
    with pytest.raises(AdapterError) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def sharded(tiny: Tiny, tmp_path: Path) -> Path:
    """A checkpoint in shards, as transformers writes large ones."""
    folder = tmp_path / "sharded"
    shutil.copytree(tiny("qwen3"), folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny("qwen3"))
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="200KB")
    assert (folder / "model.safetensors.index.json").is_file()
    return folder


def other_weights(tiny: Tiny) -> dict[str, torch.Tensor]:
    """Another training of the same architecture."""
    return {name: value * 1.5 for name, value in load_file(tiny("qwen3") / "model.safetensors").items()}


def test_shards_score_as_the_one_file_does(tiny: Tiny, sharded: Path) -> None:
    assert scores(sharded) == scores(tiny("qwen3"))
    name = "model.embed_tokens.weight"
    assert read_weights(sharded, [name])[name].equal(load_file(tiny("qwen3") / "model.safetensors")[name])


def test_a_stale_file_beside_shards_is_refused(tiny: Tiny, sharded: Path) -> None:
    """transformers takes `model.safetensors` and does not look at the shards."""
    save_file(other_weights(tiny), sharded / "model.safetensors", metadata={"format": "pt"})
    said = refusal(lambda: scores(sharded))
    assert "holds model.safetensors and model.safetensors.index.json with shards, two sets of weights" in said
    assert "two sets of weights" in refusal(lambda: load_reranker("cross-encoder", {"path": str(sharded)}))
    assert "two sets of weights" in refusal(lambda: load_reranker("listwise", {"path": str(sharded)}))
    assert "two sets of weights" in refusal(lambda: read_weights(sharded, ["model.norm.weight"]))


def test_an_index_of_the_one_file_is_no_second_set(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("qwen3"), tmp_path / "folder")
    index = {"metadata": {}, "weight_map": dict.fromkeys(other_weights(tiny), "model.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert scores(folder) == scores(tiny("qwen3"))


def test_stale_shards_that_no_index_names_are_not_read(tiny: Tiny, sharded: Path) -> None:
    save_file(other_weights(tiny), sharded / "model-00099-of-00099.safetensors", metadata={"format": "pt"})
    assert scores(sharded) == scores(tiny("qwen3"))
    assert read_weights(sharded, ["model.norm.weight"])["model.norm.weight"].equal(
        load_file(tiny("qwen3") / "model.safetensors")["model.norm.weight"]
    )


@pytest.mark.parametrize("index", ["", "[]", '{"weight_map": []}', '{"weight_map": {"a": "gone.safetensors"}}'])
def test_an_index_that_is_none_is_refused(index: str, sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").write_text(index)
    said = refusal(lambda: scores(sharded))
    assert said.startswith(f"{sharded}/model.safetensors.index.json: ")


def test_pickled_weights_beside_safetensors_are_said_not_to_be_loaded(
    tiny: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(tiny("qwen3"), tmp_path / "folder")
    torch.save(other_weights(tiny), folder / "pytorch_model.bin")
    assert scores(folder) == scores(tiny("qwen3"))
    assert f"{folder}: model.safetensors is loaded; pytorch_model.bin in the same folder is not" in caplog.text


def test_lora_weights_beside_a_whole_model_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    """A merged model saved where the LoRA weights lie; transformers would load the base and those again."""
    folder = shutil.copytree(tiny("qwen3"), tmp_path / "folder")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(tiny("qwen3"))}))
    said = refusal(lambda: scores(folder))
    assert "holds model.safetensors, a whole model, and adapter_config.json" in said
    assert "LoRA weights on another" in refusal(lambda: load_reranker("cross-encoder", {"path": str(folder)}))


def with_head(source: Path, folder: Path, change: float, **config: Any) -> Path:
    """The checkpoint with a head of its own in the file, the embeddings plus `change`; its configuration says tied."""
    shutil.copytree(source, folder)
    weights = museum.read_weights(folder)
    embedding = next(name for name in weights if name.endswith("embed_tokens.weight"))
    weights["lm_head.weight"] = weights[embedding] + change
    museum.write_weights(folder, weights)
    stated = json.loads((folder / "config.json").read_text())
    assert stated.get("tie_word_embeddings", True) is True  # the default, which the published file of Gemma leaves
    (folder / "config.json").write_text(json.dumps(stated | config))
    return folder


@pytest.mark.parametrize("architecture", ["qwen3", "qwen3_vl", "gemma"])
def test_a_head_that_the_configuration_calls_tied(architecture: str, tiny: Tiny, tmp_path: Path) -> None:
    """Equal values are one weight; other values are refused, and honoured once the configuration is corrected."""
    source = tiny(architecture)
    layout = BGE_GEMMA.name if architecture == "gemma" else "gmr"  # whose labels are tokens of the tokenizer
    assert scores(with_head(source, tmp_path / "equal", 0.0), layout) == scores(source, layout)
    said = refusal(lambda: scores(with_head(source, tmp_path / "other", 0.5), layout))
    assert "config.json ties lm_head.weight to" in said
    assert "holds both, with different values" in said


def test_a_head_of_its_own_is_read_where_the_configuration_says_so(tiny: Tiny, tmp_path: Path) -> None:
    folder = with_head(tiny("qwen3"), tmp_path / "untied", 0.5, tie_word_embeddings=False)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert not model.lm_head.weight.equal(model.model.embed_tokens.weight)
    scores(folder)


def test_a_tied_head_with_other_values_is_refused_by_adapters_of_libraries(tiny: Tiny, tmp_path: Path) -> None:
    folder = with_head(tiny("qwen3"), tmp_path / "other", 0.5)
    assert "config.json ties lm_head.weight" in refusal(lambda: load_reranker("listwise", {"path": str(folder)}))


# ./org/name


@pytest.fixture
def beside(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A working folder that holds a checkpoint under a path that reads as an id of the Hub."""
    shutil.copytree(tiny("qwen3"), tmp_path / "here" / "Qwen" / "Qwen3-0.6B")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("MRB_OFFLINE", "1")
    return "Qwen/Qwen3-0.6B"


def test_a_folder_that_reads_as_a_hub_id_is_refused(beside: str) -> None:
    said = refusal(lambda: scores(beside))
    assert said == (
        f"path={beside} is a folder here, and may mean the repository of that name on the Hub: write path=./{beside} "
        "for the folder, add revision=COMMIT for the Hub"
    )
    assert "is not cached" in refusal(lambda: scores(beside, revision="0" * 40))


@pytest.mark.parametrize("spelled", ["./{}", "{}/", "../here/{}", "{absolute}"])
def test_other_spellings_mean_the_folder(spelled: str, beside: str, tiny: Tiny) -> None:
    path = spelled.format(beside, absolute=Path(beside).resolve())
    assert scores(path) == scores(tiny("qwen3"))
    assert "is a folder; revision is for" in refusal(lambda: scores(path, revision="0" * 40))


@pytest.mark.parametrize("adapter", ["cross-encoder", "listwise", "siglip", "vllm"])
def test_every_adapter_refuses_it(adapter: str, beside: str) -> None:
    option = "model" if adapter == "vllm" else "path"
    group = RETRIEVERS if adapter == "siglip" else RERANKERS
    said = refusal(lambda: load_adapter(adapter, {option: beside}, group))
    assert f"{option}={beside} is a folder here" in said
    assert f"{option}=./{beside}" in said


def test_a_base_that_reads_as_a_hub_id(beside: str, tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("mono_lora"), tmp_path / "lora")
    path = folder / "adapter_config.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps(stated | {"base_model_name_or_path": beside}))
    said = refusal(lambda: scores(folder))
    assert said.startswith(f"{path}: base_model_name_or_path: base={beside} is a folder here")
    assert f"base=./{beside} for the folder, add base_revision=COMMIT for the Hub" in said
    assert f"base=./{beside}" in refusal(lambda: scores(folder, base=beside))


def test_a_recipe_refuses_it(beside: str) -> None:
    recipe = load_recipe("gmr-3b-sft", [f"model.path={beside}", "model.revision=none"])
    said = refusal(lambda: find_start(recipe.recipe))
    assert f"model.path=./{beside} for the folder, add model.revision=COMMIT for the Hub" in said


@pytest.mark.parametrize("name", ["qwen3", "clip"])
def test_a_quantisation_that_is_not_applied_is_refused(name: str, tiny: Tiny, tmp_path: Path) -> None:
    """transformers warns and loads plain weights, or dequantised ones in bfloat16, whatever dtype is asked for."""
    folder = Path(shutil.copytree(tiny(name), tmp_path / name))
    stated = json.loads((folder / "config.json").read_text())
    stated["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    (folder / "config.json").write_text(json.dumps(stated))
    load = scores if name == "qwen3" else lambda path: load_adapter(name, {"path": str(path)}, RETRIEVERS)
    assert "quantization_config (fp8), which is not applied" in refusal(lambda: load(folder))
