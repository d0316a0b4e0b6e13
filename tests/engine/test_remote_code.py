"""A checkpoint with code of its own: never run unless typed, recorded, and held to the same rules of weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mrb.errors import AdapterError
from mrb.rerankers.declaration import LoadedReranker, load_reranker
from tests.builders import museum
from tests.builders.requests import texts

pytestmark = pytest.mark.torch

CODE = """
from transformers import Qwen3Config, Qwen3ForCausalLM

open({ran!r}, "w")

class MineConfig(Qwen3Config):
    model_type = "mine"

class MineForCausalLM(Qwen3ForCausalLM):
    config_class = MineConfig
"""


@pytest.fixture
def mine(tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Qwen3 under a name that only its own file knows."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    folder = tmp_path / "mine"
    shutil.copytree(tiny("qwen3"), folder)
    (folder / "modeling_mine.py").write_text(CODE.format(ran=str(tmp_path / "ran")))
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "mine",
        "architectures": ["MineForCausalLM"],
        "auto_map": {"AutoConfig": "modeling_mine.MineConfig", "AutoModelForCausalLM": "modeling_mine.MineForCausalLM"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def load(folder: Path, **options: str) -> LoadedReranker:
    return load_reranker("yes-no", {"path": str(folder), "layout": "qwen3-reranker", "device": "cpu", **options})


def test_it_is_not_run_unless_typed(mine: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"cannot be loaded"):
        load(mine)
    assert not (tmp_path / "ran").exists()


def test_it_is_run_where_typed_and_the_result_says_so(mine: Path, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    reranker = load(mine, trust_remote_code="true")
    assert (tmp_path / "ran").exists()
    assert reranker.info.options["trust_remote_code"] is True
    plain = load(tiny("qwen3"))
    assert "trust_remote_code" not in plain.info.options
    assert dict(reranker.target.score_stream(texts())) == dict(plain.target.score_stream(texts()))


def test_a_weight_that_is_not_there_is_refused_all_the_same(mine: Path) -> None:
    weights = museum.read_weights(mine)
    weights.pop("model.norm.weight")
    museum.write_weights(mine, weights)
    with pytest.raises(AdapterError, match=r"holds no model\.norm\.weight .* it would be random, so it is refused"):
        load(mine, trust_remote_code="true")
