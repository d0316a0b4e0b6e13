"""`mteb` on tiny checkpoints: the scores of `cross-encoder`, and of mteb's own `evaluate` on the same tables."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from mrb.baselines.rerankers.mteb import _TEXT_QUERIES, _read_inputs
from mrb.cli.run import command
from mrb.data.inputs import Inputs
from mrb.data.items import Item
from mrb.errors import AdapterError
from mrb.rerankers.declaration import LoadedReranker, load_reranker
from tests.builders.command import read_error
from tests.builders.requests import picture
from tests.builders.services import harness, llava_cross_encoder
from tests.builders.texts import TEXTS, make_items, make_requests

pytest.importorskip("mteb", reason="the extra mteb is not installed")
pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("offline")]

Tiny = Callable[[str], Path]
TOLERANCE = 1e-5
MINILM = "cross-encoder/ms-marco-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llava_cross_encoder(tmp_path_factory.mktemp("llava"))


def load(name: str | Path, **options: str) -> LoadedReranker:
    return load_reranker("mteb", {"name": str(name), "device": "cpu", **options})


def scores(reranker: LoadedReranker, queries: list[Item], candidates: list[Item]) -> list[list[float]]:
    found = harness(reranker, make_requests(queries, candidates))
    return [found[key] for key in range(len(queries))]


def test_texts_score_as_in_cross_encoder(tiny: Tiny) -> None:
    """A folder of a CrossEncoder, and the same weights as those of a model in mteb's registry."""
    folder, items = tiny("ms_marco"), make_items(TEXTS)
    expected = scores(load_reranker("cross-encoder", {"path": str(folder), "device": "cpu"}), items, items)
    of_folder, registered = load(folder), load(MINILM, path=str(folder), batch_size="5")
    for reranker in (of_folder, registered):
        assert reranker.info.inputs == Inputs.both("text")
        assert np.abs(np.subtract(scores(reranker, items, items), expected)).max() < TOLERANCE
    assert np.std(expected) > 0.1  # far more than the tolerance
    assert of_folder.target.describe().endswith("trained on (by mteb's metadata): not stated")
    assert "at c5ee24cb1601; trained on (by mteb's metadata): MSMARCO" in registered.target.describe()
    assert of_folder.info.version == registered.info.version


def test_the_command_gives_the_scores_of_cross_encoder(tiny: Tiny, tmp_path: Path) -> None:
    found = {}
    for model, option in (("mteb", "name"), ("cross-encoder", "path")):
        words = ["--model", model, "--set", f"{option}={tiny('ms_marco')}", "--set", "device=cpu"]
        words += ["--task", "mini-faq-t2t", "--limit", "3", "--depth", "8", "--out", str(tmp_path)]
        done = CliRunner().invoke(command, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        rows = pq.read_table(tmp_path / model / "mini-faq-t2t" / "scores.parquet").to_pylist()
        found[model] = {(row["query_id"], row["doc_id"]): row["score"] for row in rows}
    assert found["mteb"] == pytest.approx(found["cross-encoder"], abs=TOLERANCE)
    assert len(found["mteb"]) == 24


def test_images_and_both_score_as_in_cross_encoder(vision: Path) -> None:
    items = [
        Item("red fox"),
        Item("", picture(40, 30, 1)),
        Item("blue hills", picture(30, 40, 2)),
        Item("", picture(40, 30, 1)),
    ]
    expected = scores(load_reranker("cross-encoder", {"path": str(vision), "device": "cpu"}), items, items)
    reranker = load(vision)
    assert reranker.info.inputs == Inputs.both("text", "image", "image+text")
    found = scores(reranker, items, items)
    assert np.abs(np.subtract(found, expected)).max() < TOLERANCE
    assert np.std(expected) > 1e-3


def test_a_sigmoid_is_left_out_unless_asked_for(tiny: Tiny) -> None:
    folder, items = tiny("ms_marco"), make_items(TEXTS[:3])
    raw, plain = (scores(load(folder, activation=how), items, items) for how in ("none", "model"))
    head = str(load(folder).target._model.model.activation_fn)
    expected = 1 / (1 + np.exp(-np.array(raw))) if "Sigmoid" in head else raw
    assert np.abs(np.subtract(plain, expected)).max() < TOLERANCE


def test_mtebs_own_baseline_reads_the_order_of_the_list() -> None:
    reranker = load("mteb/baseline-no-reranking")
    assert reranker.info.kind == "setwise"
    items = make_items(["one", "two", "one"])
    assert scores(reranker, items[:2], items) == [[0.0, -1.0, -2.0]] * 2
    page = picture(40, 30, 1)
    pages = [Item("its markdown", page), Item("", page), Item("more", page)]
    assert scores(reranker, items[:1], pages) == [[0.0, -1.0, -2.0]], "a page whose text is empty stays image+text"
    said = read_error(AdapterError, scores, reranker, items[:1], [pages[1], items[0]])
    assert said.endswith("takes lists of one modality, and this one is mixed")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"name": "cross-encoder/ms-marco-MiniLM-L6-v3"},
            "has no model 'cross-encoder/ms-marco-MiniLM-L6-v3' (did you",
        ),
        ({"name": "BAAI/bge-m3"}, "mteb: BAAI/bge-m3 is no reranker in mteb (dense"),
        ({"name": "Qwen/Qwen3-VL-Reranker-2B"}, "Qwen/Qwen3-VL-Reranker-2B@4bd860ac cannot be fetched"),
        ({"name": MINILM, "batch_size": "0"}, "mteb: batch_size is 0, wanted a whole number from 1"),
    ],
)
def test_what_cannot_run_is_said_in_one_line(options: dict[str, str], said: str) -> None:
    assert said in read_error(AdapterError, load, **options)


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is installed")
def test_what_mteb_needs_beside_is_said(tiny: Tiny) -> None:
    """mteb asks for torchvision where a model takes images."""
    said = read_error(AdapterError, load, "Qwen/Qwen3-VL-Reranker-2B", path=str(tiny("qwen3_vl")))
    assert said.startswith("mteb: Qwen/Qwen3-VL-Reranker-2B: ") and "torchvision" in said


def test_code_of_a_repository_runs_only_if_asked(tiny: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny("ms_marco"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "code.Model"}
    config |= {"model_type": "unknown-to-transformers", "auto_map": {"AutoConfig": "code.Config", **config["auto_map"]}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit('it ran')")
    # mteb passes trust_remote_code=True for this one.
    said = read_error(AdapterError, load, "zeroentropy/zerank-1-small", path=str(folder))
    assert "runs code from its repository" in said


def test_sides_that_a_model_takes_are_those_of_its_authors() -> None:
    both = ["image", "text"]
    assert _read_inputs("acme/model", both) == ("text", "image", "image+text")
    assert _read_inputs("lightonai/LightOn-rerank-PW-2B", both) == {"query": ("text",), "document": ("text", "image")}
    import mteb

    names = {meta.name for meta in mteb.get_model_metas() if meta.is_cross_encoder and "image" in meta.modalities}
    assert all(any(name.startswith(start) for name in names) for start in _TEXT_QUERIES)
