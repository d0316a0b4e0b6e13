"""Checkpoints and options of which no engine is built, each named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mrb.engine.prompt import resolve_label_ids
from mrb.engine.prompt_template import PromptTemplate
from mrb.errors import AdapterError
from mrb.rerankers.declaration import LoadedReranker, load_reranker
from tests.builders import museum

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]
Load = Callable[..., LoadedReranker]


class TestRefusals:
    def changed(self, source: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
        shutil.copytree(source, folder)
        weights = museum.read_weights(folder)
        change(weights)
        museum.write_weights(folder, weights)
        return folder

    def test_a_missing_weight(self, tiny: Tiny, load: Load, tmp_path: Path) -> None:
        folder = self.changed(tiny("qwen2_5_vl"), tmp_path / "c", lambda w: w.pop("lm_head.weight"))
        with pytest.raises(AdapterError, match=r"holds no lm_head.weight .* it would be random, so it is refused"):
            load("gmr-7b", folder)

    def test_a_weight_of_another_shape(self, tiny: Tiny, load: Load, tmp_path: Path) -> None:
        def change(weights: dict[str, Any]) -> None:
            name = next(n for n in weights if n.endswith("norm.weight") and "layers" not in n)
            weights[name] = torch.ones(7)

        with pytest.raises(AdapterError, match=r"norm\.weight|size mismatch"):
            load("qwen3-reranker-4b", self.changed(tiny("qwen3"), tmp_path / "c", change))

    def test_a_weight_that_no_part_of_the_model_takes(self, tiny: Tiny, load: Load, tmp_path: Path) -> None:
        folder = self.changed(tiny("qwen3"), tmp_path / "c", lambda w: w.update({"score.weight": torch.ones(1, 64)}))
        with pytest.raises(AdapterError, match=r"score\.weight .* is not part of the model"):
            load("qwen3-reranker-4b", folder)

    def test_a_missing_score_head(self, tiny: Tiny, load: Load, tmp_path: Path) -> None:
        folder = self.changed(tiny("jina_m0"), tmp_path / "c", lambda w: w.pop("score.2.weight"))
        with pytest.raises(AdapterError, match=r"holds no score\.2\.weight"):
            load("jina-reranker-m0", folder)

    @pytest.mark.parametrize("labels", [("yes please", "no"), ("yes", "xqzzy"), ("yes", "yes")])
    def test_labels_that_are_not_two_tokens(self, labels: tuple[str, str]) -> None:
        layout = PromptTemplate("mine", "{query}{seam}{document}", labels=labels)
        with pytest.raises(AdapterError, match=r"is not one token|both labels are the token"):
            resolve_label_ids(museum.qwen_tokenizer(), layout)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"device": "cuda"}, "device=cuda: this machine has none"),
            ({"device": "tpu"}, "device='tpu': wanted one of"),
            ({"dtype": "int8"}, "dtype='int8': wanted one of"),
            ({"max_length": 0}, "max_length=0: wanted a whole number from 1"),
            ({"min_pixels": 10_000_000}, "is over max_pixels"),
            ({"revision": "a" * 40}, "is a folder; revision is for repositories"),
            ({"layout": "mine"}, "has no layout 'mine'"),
            ({"path": "no/such/folder"}, "no such folder"),
            ({"path": "org/name"}, "give the commit to load"),
            ({"path": "org/name", "revision": "main"}, "is not a commit"),
        ],
    )
    def test_an_option(self, options: dict[str, Any], message: str, tiny: Tiny, load: Load) -> None:
        with pytest.raises(AdapterError, match=message):
            load("gmr-7b", **{"folder": tiny("qwen2_5_vl"), **options})

    def test_no_checkpoint_named(self) -> None:
        with pytest.raises(AdapterError, match="name the checkpoint: --set path="):
            load_reranker("gmr-3b", {})


def test_other_weights_are_another_version(tiny: Tiny, load: Load, tmp_path: Path) -> None:
    folder = TestRefusals().changed(tiny("qwen3"), tmp_path / "c", lambda w: w["model.norm.weight"].mul_(2))
    versions = [load("qwen3-reranker-4b", where).info.version for where in (tiny("qwen3"), folder, tiny("qwen3"))]
    assert versions[0] == versions[2] != versions[1]
