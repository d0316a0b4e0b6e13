"""What identifies weights: every format that a loader reads, and nothing that moves no score."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub.constants import CONFIG_NAME, PYTORCH_WEIGHTS_NAME, SAFETENSORS_SINGLE_FILE
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from mrb.engine.identity import hash_checkpoint, hash_loaded_checkpoint
from mrb.rerankers.declaration import load_reranker
from tests.builders.by_hand import LIMITS
from tests.builders.services import llama, xlm_roberta

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]


def retrained(path: Path) -> None:
    """Other numbers in a file of weights, in its own format."""
    weights = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    weights = {name: value * 1.5 if value.is_floating_point() else value for name, value in weights.items()}
    if path.suffix == ".safetensors":
        save_file(weights, path, metadata={"format": "pt"})
    else:
        torch.save(weights, path)


# The names are those of transformers, sentence-transformers, PEFT, llama.cpp, Flax and open_clip.
@pytest.mark.parametrize(
    "name",
    [
        SAFETENSORS_SINGLE_FILE,
        PYTORCH_WEIGHTS_NAME,
        CONFIG_NAME,
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model.bin.index.json",
        "adapter_model.bin",
        "consolidated.00.pth",
        "model.pt",
        "open_clip_pytorch_model.bin",
        "model-Q4_K_M.gguf",
        "flax_model.msgpack",
        "tf_model.h5",
        "tokenizer.json",
        "vocab.txt",
        "merges.txt",
        "sentencepiece.bpe.model",
        "spm.model",
        "chat_template.jinja",
        "additional_chat_templates/rerank.jinja",
        "1_Dense/model.safetensors",
        "1_Dense/pytorch_model.bin",
    ],
)
def test_every_file_that_decides_a_score_counts(tmp_path: Path, name: str) -> None:
    modules = [{"idx": 0, "path": "", "type": "Transformer"}, {"idx": 1, "path": "1_Dense", "type": "Dense"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b'{"a": 1}')
    before = hash_checkpoint(tmp_path)
    assert hash_checkpoint(tmp_path) == before
    path.write_bytes(b'{"a": 2}')
    assert hash_checkpoint(tmp_path) != before


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "optimizer.pt",
        "scheduler.pt",
        "rng_state_0.pth",
        "training_args.bin",
        "trainer_state.json",
        "random_states_0.pt",
        "notes.txt",
        "runs/events.out.tfevents.1",
        "checkpoint-500/model.safetensors",
        "modeling.py",
    ],
)
def test_what_decides_no_score_does_not(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = hash_checkpoint(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    assert hash_checkpoint(tmp_path) == before


def test_code_that_a_checkpoint_brings_counts(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "modeling.Model"}}')
    before = hash_checkpoint(tmp_path)
    (tmp_path / "modeling.py").write_text("x = 1\n")
    assert hash_checkpoint(tmp_path) != before


def test_a_repository_is_known_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef" + "0" * 24
    cache = tmp_path / "models--org--name"
    snapshot = cache / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commit)
    (snapshot / "config.json").write_text("{}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for revision in (None, "main", commit):
        assert hash_loaded_checkpoint("org/name", revision) == commit[:16]
    (snapshot / "pytorch_model.bin").write_bytes(b"fetched later, by another tool")
    assert hash_loaded_checkpoint("org/name", None) == hash_checkpoint(snapshot) == commit[:16]
    assert hash_loaded_checkpoint("org/other", "v1") == "v1"


def test_weights_of_a_base_count_with_those_on_it(tiny: Tiny, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny("qwen2_vl"), tmp_path / "base"))
    folder = Path(shutil.copytree(tiny("mono_lora"), tmp_path / "lora"))
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": str(base)}))

    def version() -> str:
        limits = {key: str(value) for key, value in LIMITS.items()}
        reranker = load_reranker("monoqwen2-vl", {"path": str(folder), "device": "cpu", **limits})
        reranker.close()
        return reranker.info.version

    before = version()
    assert (
        before
        == f"1+{hash_loaded_checkpoint(str(folder), None)}"
        == f"1+{hash_checkpoint(folder)}+{hash_checkpoint(base)}"
    )
    retrained(min(base.glob("*.safetensors")))
    after = version()
    assert after != before
    retrained(folder / "adapter_model.safetensors")
    assert len({before, after, version()}) == 3


@pytest.mark.parametrize("form", ["safetensors", "bin", "sharded"])
def test_a_cross_encoder_is_known_by_its_weights(tmp_path: Path, form: str) -> None:
    folder = xlm_roberta(tmp_path / "checkpoint")
    file = folder / "model.safetensors"
    if form == "bin":
        torch.save(load_file(file), folder / "pytorch_model.bin")
        file.unlink()
        file = folder / "pytorch_model.bin"
    elif form == "sharded":
        AutoModelForSequenceClassification.from_pretrained(folder).save_pretrained(folder, max_shard_size="20KB")
        file.unlink(missing_ok=True)
        file = max(folder.glob("model-*.safetensors"))
    before = load_reranker("cross-encoder", {"path": str(folder), "device": "cpu"}).info.version
    assert before == f"2+{hash_checkpoint(folder)}"
    retrained(file)
    assert load_reranker("cross-encoder", {"path": str(folder), "device": "cpu"}).info.version != before


def test_a_listwise_model_is_known_by_its_weights(tmp_path: Path) -> None:
    folder = llama(tmp_path / "checkpoint", "<|im_start|>", "<|im_end|>")
    options = {"path": str(folder), "device": "cpu", "dtype": "float32"}
    before = load_reranker("listwise", options).info.version
    assert before == f"1+{hash_checkpoint(folder)}"
    retrained(folder / "model.safetensors")
    assert load_reranker("listwise", options).info.version != before
