"""Encoders as bases: training, and the CrossEncoder that is saved, score alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrb.data.items import Item
from mrb.errors import MRBError, TrainingError
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.reranker import Request
from mrb.training.memory_estimate import measure_size
from mrb.training.recipe import LoadedRecipe
from mrb.training.run import train
from mrb.training.validation import LiveReranker
from tests.builders.training import parts_of_recipe, read_curve, recipe_of, toy_groups
from tests.training.test_export import scores, shake

pytestmark = pytest.mark.torch

BASE = ("model.layout=pair", "model.max_length=40", "rows.yes=['a']", "rows.no=['b']")
CL = ("loss.name=contrastive", "model.layout=pair-cl")


@pytest.fixture(autouse=True)
def cache(training_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRB_CACHE", str(training_cache))


@pytest.fixture
def small(tmp_path: Path, tiny: Callable[[str], Path]) -> Callable[..., LoadedRecipe]:
    """`small(architecture, changes)`: a recipe on text groups."""
    groups = toy_groups(tmp_path, pictures=False)
    return lambda architecture, *changes: recipe_of(tmp_path, tiny(architecture), groups, (*BASE, *changes))


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("minilm", ()),
        ("minilm", CL),
        ("minilm", ("tuning.method=full", "tuning.embeddings=trained", "rows.trainable=true")),
        ("ettin", ()),
    ],
    ids=["lora", "contrastive", "whole", "modernbert"],
)
def test_the_saved_cross_encoder_scores_as_training_does(
    small: Any, tmp_path: Path, architecture: str, changes: tuple[str, ...]
) -> None:
    parts = parts_of_recipe(small(architecture, *changes).recipe)
    shake(parts)
    words = list("abcdefghijklmnop")
    documents = [Item(" ".join(words[:n])) for n in (1, 3, 7, 12)] + [Item(" ".join(words * 6))]
    requests = [Request("", Item("a b c"), documents, 1), Request("", Item("c"), documents, 2)]
    live = LiveReranker(parts.learner.eval(), parts.prompter, None)
    wanted = scores(live, requests)
    prompts = parts.prompter.prompts("", [(requests[0].query, document) for document in documents])
    assert [prompt.cut > 0 for prompt in prompts] == [False] * 4 + [True]
    parts.exporter.save(tmp_path / "saved")
    found = scores(load_reranker("cross-encoder", {"path": str(tmp_path / "saved")}).target, requests)
    print("largest difference", max(abs(a - b) for a, b in zip(found, wanted, strict=True)))
    assert found == pytest.approx(wanted, abs=1e-5)
    assert len({round(score, 3) for score in wanted}) > len(wanted) // 2
    again = small(architecture, *changes, f"model.path={tmp_path / 'saved'}", "rows.yes=[]", "rows.no=[]")
    second = parts_of_recipe(again.recipe)
    if "tuning.method=full" in changes:
        assert scores(LiveReranker(second.learner.eval(), second.prompter, None), requests) == wanted


def test_an_encoder_learns_and_its_size_is_estimated(small: Any, tmp_path: Path) -> None:
    recipe = small("minilm", "schedule.steps=12", "schedule.learning_rate=2e-2", "memory.precision=bf16")
    size = measure_size(recipe.recipe)
    assert 0 < size.trained < size.parameters and size.layer_bytes > 0
    train(recipe, tmp_path / "out", fresh=False, command=("mrb", "train"))
    losses = [loss for (loss,) in read_curve(tmp_path / "out", "loss")]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    card = (tmp_path / "out" / "model" / "README.md").read_text()
    assert "mrb run --model cross-encoder --set path=model" in card
    assert "other\nprograms would score" not in card


def test_what_does_not_fit_an_encoder_is_refused(small: Any, tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    def refusal(*changes: str, architecture: str = "minilm") -> str:
        with pytest.raises(TrainingError) as error:
            parts_of_recipe(small(architecture, *changes).recipe)
        return str(error.value)

    assert "takes 60 tokens at most" in refusal("model.max_length=400")
    assert "the layouts pair, pair-cl are for encoders" in refusal("model.layout=gmr")
    assert "the layouts pair, pair-cl are for encoders" in refusal(architecture="qwen3")
    assert "one token per label" in refusal("rows.yes=['a', 'c']")
    shown = toy_groups(tmp_path)
    with pytest.raises(MRBError, match="takes no images"):
        train(recipe_of(tmp_path, tiny("minilm"), shown, BASE), tmp_path / "out", fresh=False, command=())
