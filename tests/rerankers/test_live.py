"""Live models of torch: the scores of the same weights loaded by name, a version that follows the weights, and a model
that is left as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer

import mrb
from mrb.errors import AdapterError, ResultError
from mrb.rerankers.live import load_live_reranker
from tests.builders.command import read_error
from tests.builders.services import xlm_roberta

pytestmark = pytest.mark.torch

TASK = "mini-faq-t2t"
Tiny = Callable[[str], Path]
KINDS = {"cross-encoder": (CrossEncoder, "ms_marco"), "bi-encoder": (SentenceTransformer, "minilm")}


def evaluate(model: object, **given: Any) -> mrb.Run:
    return mrb.evaluate(model, tasks=TASK, limit=6, **given)


def read_scores(out: Path, name: str) -> bytes:
    return (out / name / TASK / "scores.parquet").read_bytes()


def move_weights(model: torch.nn.Module, by: float) -> None:
    """As a step of training does."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(by * torch.sign(torch.cos(torch.arange(weight.numel()).reshape(weight.shape) * 12.9)))


@pytest.mark.parametrize("name", KINDS)
def test_scores_are_those_of_the_same_weights_by_name(tiny: Tiny, tmp_path: Path, name: str) -> None:
    kind, checkpoint = KINDS[name]
    folder = tiny(checkpoint)
    evaluate(name, options={"path": str(folder), "device": "cpu"}, out=tmp_path / "name")
    live = kind(str(folder), device="cpu")
    live.train()
    found = evaluate(live, out=tmp_path / "live")
    assert read_scores(tmp_path / "live", name) == read_scores(tmp_path / "name", name)
    assert live.training
    assert found.record.reranker.source.startswith("mrb ")
    for part in ("per_query.parquet", "result.json"):
        files = [(tmp_path / out / name / TASK / part).read_bytes() for out in ("name", "live")]
        assert (files[0] == files[1]) == (part == "per_query.parquet")  # the result names version and options


@pytest.mark.parametrize("name", KINDS)
def test_the_second_evaluation_is_that_of_the_new_weights(tiny: Tiny, tmp_path: Path, name: str) -> None:
    kind, checkpoint = KINDS[name]
    model = kind(str(tiny(checkpoint)), device="cpu")
    before = evaluate(model, out=tmp_path / "runs")
    again = evaluate(model, out=tmp_path / "runs")  # the same weights: continued
    assert again.record.reranker == before.record.reranker
    move_weights(model, 0.05)
    line = read_error(ResultError, evaluate, model, out=tmp_path / "runs")
    assert "another run" in line
    after = evaluate(model, out=tmp_path / "runs", fresh=True)
    assert after.record.reranker.version != before.record.reranker.version
    model.save_pretrained(str(tmp_path / "trained"))
    evaluate(name, options={"path": str(tmp_path / "trained"), "device": "cpu"}, out=tmp_path / "name")
    assert read_scores(tmp_path / "runs", name) == read_scores(tmp_path / "name", name)
    assert mrb.compare(before, evaluate(model)).tasks[0].differences[0].tied < 6


@pytest.mark.parametrize("change", ["weight", "max_length", "head", "prompt"])
def test_the_version_follows_what_decides_scores(tiny: Tiny, change: str) -> None:
    model = CrossEncoder(str(tiny("ms_marco")), device="cpu")
    versions = [load_live_reranker(model).info.version for _ in range(2)]
    assert versions[0] == versions[1]
    if change == "weight":
        with torch.no_grad():
            next(iter(model.parameters())).view(-1)[0].add_(1e-4)
    elif change == "max_length":
        model.max_seq_length = 17
    elif change == "head":
        model[0].model.config.hidden_act = "relu"
    else:
        model.prompts = {"own": "find: "}
        model.default_prompt_name = "own"
    assert load_live_reranker(model).info.version != versions[0]


def drop_normalisation(model: SentenceTransformer) -> None:
    del model[2]


def change_pooling(model: SentenceTransformer) -> None:
    model[1].pooling_mode = "max"
    assert model[1].get_config_dict()["pooling_mode"] == "max"


def change_template(model: SentenceTransformer) -> None:
    model[0].processor.chat_template = "{{ messages[0].content }}"


@pytest.mark.parametrize("change", [drop_normalisation, change_pooling, change_template])
def test_modules_without_weights_are_part_of_the_version(
    tiny: Tiny, change: Callable[[SentenceTransformer], None]
) -> None:
    model = SentenceTransformer(str(tiny("minilm")), device="cpu")
    version = load_live_reranker(model).info.version
    change(model)
    assert load_live_reranker(model).info.version != version


@pytest.mark.parametrize("name", KINDS)
def test_parts_that_the_user_keeps_in_evaluation_mode_stay_so(tiny: Tiny, name: str) -> None:
    kind, checkpoint = KINDS[name]
    model = kind(str(tiny(checkpoint)), device="cpu")
    model.train()
    model[0].eval()
    modes = [part.training for part in model.modules()]
    evaluate(model)
    assert [part.training for part in model.modules()] == modes
    assert set(modes) == {True, False}


def test_predicting_does_not_change_the_version(tiny: Tiny) -> None:
    model = CrossEncoder(str(tiny("ms_marco")), device="cpu")
    version = load_live_reranker(model).info.version
    evaluate(model)
    model.predict([("a query", "a document"), ("a", "b " * 600)])
    assert load_live_reranker(model).info.version == version


class Mine:
    """A reranker of the user's own around a live model."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    def score(self, request: mrb.Request) -> list[float]:
        lengths = torch.tensor([[float(len(item.text))] for item in request.candidates])
        scores: list[float] = self.network(lengths).reshape(-1).tolist()
        return scores


def test_an_object_with_a_network_is_another_after_training() -> None:
    network = torch.nn.Linear(1, 1)
    model = Mine(network)
    before = evaluate(model)
    move_weights(network, 3.0)
    after = evaluate(model)
    assert before.record.reranker.version.startswith("weights ")
    assert after.record.reranker.version != before.record.reranker.version


def test_wrappers_take_options_and_refuse_others(tiny: Tiny, tmp_path: Path) -> None:
    model = CrossEncoder(str(tiny("ms_marco")), device="cpu")
    assert evaluate(model, options={"batch_size": 3}).record.reranker.options == {"batch_size": 3}
    assert "max_length" in read_error(AdapterError, evaluate, model, options={"max_length": 3})
    two = CrossEncoder(str(xlm_roberta(tmp_path, num_labels=2)), device="cpu")
    assert "gives 2 scores a pair" in read_error(AdapterError, evaluate, two)
