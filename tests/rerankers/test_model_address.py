"""`--model ORG/NAME` and `--model FOLDER`: the same scores and identity as the adapter and options spelled out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.errors import AdapterError
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.model_address import is_model_address, resolve_model
from tests.builders.command import Done, find_refusal
from tests.builders.hub.server import Hub

pytestmark = [pytest.mark.torch, pytest.mark.hub]

Tiny = Callable[[str], Path]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TRIAL = ("--task", "mini-faq-t2t", "--limit", "3", "--depth", "5")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stocked(hub: Hub, tiny: Tiny) -> Hub:
    """A Hub with models of three kinds under unknown names."""
    for name, exhibit in (("acme/reranker", "ms_marco"), ("acme/embedder", "minilm"), ("acme/judge", "qwen3")):
        folder = tiny(exhibit)
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        hub.repositories[(name, COMMIT)] = files
        hub.branches[(name, "main")] = COMMIT
    return hub


def read(folder: Path, name: str) -> tuple[dict[str, object], bytes]:
    """The reranker of a run without its name, and the bytes of its rankings."""
    reranker = json.loads((folder / "runs" / name / "run.json").read_text())["reranker"]
    assert reranker.pop("name") == name
    return reranker, (folder / "runs" / name / "mini-faq-t2t" / "per_query.parquet").read_bytes()


def test_a_hub_id_runs_as_the_adapter_spelled_out_also_in_workers(
    stocked: Hub, mrb_on_hub: Callable[..., Done], tmp_path: Path
) -> None:
    """Few commands, as each loads torch."""
    short = mrb_on_hub("run", "--model", f"acme/reranker@{COMMIT}", "--set", "max_length=30", *TRIAL, "--workers", "2")
    assert short.returncode == 0, short.stderr
    assert "acme/reranker: BertForSequenceClassification with one label -> cross-encoder\n" in short.stderr
    asked = len(stocked.requests)
    typed = ("--set", "path=acme/reranker", "--set", f"revision={COMMIT}", "--set", "max_length=30")
    long = mrb_on_hub("run", "--model", "cross-encoder", *typed, *TRIAL, env={"MRB_OFFLINE": "1"})
    assert long.returncode == 0, long.stderr
    assert len(stocked.requests) == asked
    assert read(tmp_path, "acme.reranker") == read(tmp_path, "cross-encoder")


def test_an_embedding_model_of_the_hub_is_a_bi_encoder(
    stocked: Hub, mrb_on_hub: Callable[..., Done], tmp_path: Path
) -> None:
    done = mrb_on_hub("run", "--model", "acme/embedder", "--set", "max_length=30", *TRIAL)
    assert done.returncode == 0, done.stderr
    what = "a SentenceTransformer (embeddings, last module Normalize, no prompt in its files)"
    assert f"acme/embedder: {what} -> bi-encoder\n" in done.stderr
    reranker, _ = read(tmp_path, "acme.embedder")
    assert reranker["options"] == {"max_length": 30, "path": "acme/embedder"}
    assert reranker["version"] == f"1+{COMMIT[:16]}"


def test_what_the_hub_or_the_files_refuse_is_one_line(stocked: Hub, mrb_on_hub: Callable[..., Done]) -> None:
    for model, told in (
        ("acme/judge", "acme/judge: Qwen3ForCausalLM; its files do not hold a reranker's prompt"),
        ("acme/none", "acme/none: no such repository, or it is private"),
        ("acme/reranker@v9", "acme/reranker@v9: the repository has no such revision"),
        ("acme/a b", "acme/a b: there is no such folder, and a model of the Hub is ORG/NAME or ORG/NAME@COMMIT"),
    ):
        done = mrb_on_hub("run", "--model", model, *TRIAL)
        assert done.returncode == 2
        assert told in find_refusal(done.stderr)
    stocked.repositories[("acme/judge", COMMIT)]["config.json"] = b" " * 5_000_000
    done = mrb_on_hub("check", "acme/judge")
    assert done.returncode == 2
    assert "config.json has 5,000,000 bytes" in find_refusal(done.stderr)
    assert not any("resolve" in one and "judge" in one and "GET" in one for one in stocked.requests[-4:])


@pytest.mark.parametrize(
    "model", ["Qwen/Qwen3-Reranker-0.6B", "BAAI/bge-reranker-v2-m3", "mixedbread-ai/mxbai-rerank-base-v2"]
)
def test_without_a_connection_no_client_retries(model: str, mrb_on_hub: Callable[..., Done]) -> None:
    done = mrb_on_hub("run", "--model", model, *TRIAL, env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert done.returncode == 2
    assert ": the Hub cannot be reached or fails (" in find_refusal(done.stderr)
    assert "Retrying" not in done.stderr


def test_a_file_without_its_ending_is_named(here: Path) -> None:
    (here / "mine.py").write_text("")
    with pytest.raises(
        AdapterError, match=r"^\./mine: there is no such folder; the adapter is \./mine\.py: give this$"
    ):
        resolve_model("./mine", {})
    assert not is_model_address("./mine.py")


def test_a_folder_runs_as_the_adapter_spelled_out(tiny: Tiny, here: Path) -> None:
    shutil.copytree(tiny("ms_marco"), here / "my model")
    short = load_reranker("./my model", {"max_length": "30"}).info
    long = load_reranker("cross-encoder", {"path": "./my model", "max_length": "30"}).info
    assert short.name == "my.model"
    assert short.model_copy(update={"name": long.name}) == long


def test_a_folder_is_read_again_after_a_training(here: Path) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "config.json").write_text("{}")
    for layout in ("gmr-tiny", "qwen3-reranker"):
        settings = {"layout": layout, "max_length": 64, "min_pixels": 1024, "max_pixels": 4096}
        (here / "mine" / "training.json").write_text(json.dumps({"recipe": {"model": settings}}))
        assert resolve_model("./mine", {}).options["layout"] == layout


def test_published_models_need_no_file_and_keep_their_adapters_name(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MRB_OFFLINE", "1")
    found = resolve_model("qwen/qwen3-reranker-0.6b", {"device": "cpu"})
    assert (found.adapter, found.name, found.options) == ("qwen3-reranker-0.6b",) * 2 + ({"device": "cpu"},)
    assert found.line == (
        "Qwen/Qwen3-Reranker-0.6B: a published reranker, layout qwen3-reranker, at 6e9e69830b95 -> qwen3-reranker-0.6b"
    )
    pinned = resolve_model(f"Qwen/Qwen3-Reranker-0.6B@{COMMIT}", {})
    assert pinned.options == {"revision": COMMIT}
    assert resolve_model("Qwen/Qwen3-Reranker-0.6B", {"revision": COMMIT}).options == {"revision": COMMIT}
    with pytest.raises(AdapterError, match="differ: give one"):
        resolve_model("Qwen/Qwen3-Reranker-0.6B@main", {"revision": COMMIT})
    with pytest.raises(AdapterError, match=r"^code-kunkun/LamRA-Rank: give the commit to load"):
        load_reranker("code-kunkun/LamRA-Rank")


def test_names_keep_their_meaning_and_two_meanings_are_refused(here: Path, tiny: Tiny) -> None:
    (here / "mine.py").write_text("def mine(request):\n    return [0.0 for _ in request.candidates]\n")
    (here / "runs").mkdir()
    for name in (
        "surface",
        "mine",
        "mine.py",
        "./mine.py",
        "sub/mine.py:mine",
        "mrb.baselines.rerankers.random",
        "runs",
        "",
    ):
        assert not is_model_address(name)
    for name in ("acme/reranker", "./runs", "~/model", "/models/mine"):
        assert is_model_address(name)
    for name, other in (("minilm", "the installed reranker minilm"), ("mine", "mine.py")):
        (here / name).mkdir()
        (here / name / "config.json").write_text("{}")
        with pytest.raises(AdapterError, match=f"'{name}' is both a model folder here and {other}: give ./{name} for"):
            load_reranker(name)
    (here / "acme" / "reranker").mkdir(parents=True)
    with pytest.raises(AdapterError, match=r"give \./acme/reranker for the folder, acme/reranker@COMMIT"):
        load_reranker("acme/reranker")
    with pytest.raises(AdapterError, match=r"^\./acme/reranker: holds no config\.json"):
        load_reranker("./acme/reranker")
    with pytest.raises(AdapterError, match="is a folder; --set revision= is for models of the Hub"):
        load_reranker("./acme/reranker", {"revision": COMMIT})
    with pytest.raises(AdapterError, match="--model names the model and --set path= another: give one"):
        load_reranker("./acme/reranker", {"path": "x"})
