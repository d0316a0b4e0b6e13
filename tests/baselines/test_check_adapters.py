"""`mrb check` for every reranker that ships, on a tiny checkpoint or a stand-in; and what each says of itself."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest
from click.testing import CliRunner

from mrb.cli.check import command
from mrb.cli.main import main
from mrb.errors import AdapterError
from mrb.rerankers.declaration import load_reranker
from tests.baselines.test_rerank_api import Server
from tests.baselines.test_vllm import STAND_IN
from tests.builders.model_table import list_run_here
from tests.builders.processors import without_torchvision
from tests.builders.services import llama

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]
ADAPTERS = {point.name: point for point in entry_points(group="mrb.rerankers") if point.value.startswith("mrb.")}
VISION = ("--set", "max_pixels=20000")
TEXT_TASK = ("--task", "mini-faq-t2t")
BOTH_TASK = ("--task", "mini-fact-it2it")

# Adapter: (architecture of its tiny checkpoint, options, task).
ON_THE_ENGINE: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "yes-no": ("qwen2_5_vl", ("--set", "layout=gmr", *VISION), BOTH_TASK),
    "gmr-3b": ("qwen2_5_vl_3b", VISION, BOTH_TASK),
    "gmr-7b": ("lychee", VISION, BOTH_TASK),
    "qwen3-vl-reranker-2b": ("qwen3_vl", VISION, BOTH_TASK),
    "qwen3-vl-reranker-8b": ("qwen3_vl_8b", VISION, BOTH_TASK),
    "qwen3-reranker-0.6b": ("qwen3", (), TEXT_TASK),
    "qwen3-reranker-4b": ("qwen3", (), TEXT_TASK),
    "qwen3-reranker-8b": ("qwen3_8b", (), TEXT_TASK),
    "monoqwen2-vl": ("mono_lora", VISION, BOTH_TASK),
    "nemotron-3.5-rerank-8b": ("nemotron_rerank", ("--set", "max_pixels=20000"), ("--task", "mini-flag-t2it")),
    "llama-nemotron-rerank-vl-1b": ("llama_nemotron_vl", VISION, ("--task", "mini-flag-t2it")),
    "jina-reranker-m0": ("jina_m0", VISION, BOTH_TASK),
    "lamra-rank": ("lamra", VISION, BOTH_TASK),
    "lamra-rank-qwen2.5": ("qwen2_5_vl", VISION, BOTH_TASK),
    "bge-reranker-v2-gemma": ("gemma", (), TEXT_TASK),
    "gme-2b": ("gme", VISION, BOTH_TASK),
    "gme-7b": ("gme_7b", VISION, BOTH_TASK),
    "qwen3-vl-embedding-2b": ("qwen3_vl", VISION, BOTH_TASK),
    "qwen3-vl-embedding-8b": ("qwen3_vl_8b", VISION, BOTH_TASK),
    "clip": ("clip", (), BOTH_TASK),
    "siglip": ("siglip", (), BOTH_TASK),
    "siglip2": ("siglip2", (), BOTH_TASK),
    "mxbai-rerank-base-v2": ("qwen2", (), TEXT_TASK),
    "mxbai-rerank-large-v2": ("qwen2", (), TEXT_TASK),
    "zerank-2": ("zerank", (), TEXT_TASK),
    "jina-reranker-v3.5": ("jina_v35", ("--set", "max_doc_length=8"), TEXT_TASK),
}
WITHOUT_WEIGHTS = ("random", "constant", "bm25", "surface")
WITH_THEIR_WEIGHTS = ("gmr-tiny", "mini-panel", "minilm", "ocr-bm25")
"""Run on the weights that MRB or a package carries."""
SERVED = ("rerank-api", "vllm")
LIGHTON = tuple(f"lighton-rerank-pw-{size}" for size in ("0.8b", "2b", "4b"))
ETTIN = tuple(f"ettin-reranker-{size}" for size in ("17m", "32m", "68m", "150m", "400m", "1b"))
CROSS_ENCODERS = {
    "cross-encoder": "ms_marco",
    "bge-reranker-v2-m3": "bge_m3",
    **dict.fromkeys(LIGHTON, "lighton_pw"),
    **dict.fromkeys(ETTIN, "ettin"),
}
OTHERS = (*CROSS_ENCODERS, "bi-encoder", "listwise", "mteb")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def pillow() -> Iterator[None]:
    with without_torchvision():
        yield


def test_every_adapter_is_checked() -> None:
    assert set(ADAPTERS) == {*ON_THE_ENGINE, *WITHOUT_WEIGHTS, *WITH_THEIR_WEIGHTS, *SERVED, *OTHERS}


@pytest.fixture
def arguments(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Callable[[str], tuple[str, ...]]:
    """What a user types after `mrb check NAME`, here with a tiny checkpoint or a stand-in."""

    def of(name: str) -> tuple[str, ...]:
        if name in ON_THE_ENGINE:
            architecture, options, task = ON_THE_ENGINE[name]
            return ("--set", f"path={tiny(architecture)}", "--set", "device=cpu", *options, *task)
        if name == "rerank-api":
            url = request.getfixturevalue("server").url
            return ("--set", f"url={url}", "--set", "model=any", *TEXT_TASK)
        if name == "vllm":
            (tmp_path / "path" / "vllm").mkdir(parents=True)
            (tmp_path / "path" / "vllm" / "__init__.py").write_text(STAND_IN)
            monkeypatch.setenv("VLLM_NOTES", str(tmp_path / "notes"))
            monkeypatch.syspath_prepend(str(tmp_path / "path"))
            return ("--set", "model=acme/reranker", *TEXT_TASK)
        if name == "listwise":
            folder = llama(tmp_path / "model", "<|im_start|>", "<|im_end|>")
            return ("--set", f"path={folder}", "--set", "max_new_tokens=2", *TEXT_TASK)
        if name == "mteb":
            pytest.importorskip("mteb", reason="the extra mteb is not installed")
            return ("--set", f"name={tiny('ms_marco')}", "--set", "device=cpu", *TEXT_TASK)
        if name == "bi-encoder":
            return ("--set", f"path={tiny('minilm')}", "--set", "device=cpu", *TEXT_TASK)
        if name in LIGHTON:
            request.getfixturevalue("pillow")
            return ("--set", f"path={tiny('lighton_pw')}", "--set", "max_length=60", *TEXT_TASK)
        if name in CROSS_ENCODERS:
            return ("--set", f"path={tiny(CROSS_ENCODERS[name])}", "--set", "max_length=60", *TEXT_TASK)
        return (*TEXT_TASK, "--task", "mini-flag-t2i") if name in ("mini-panel", "ocr-bm25") else TEXT_TASK

    return of


# Further sizes of a class are checked with their smallest.
SIZES = {*LIGHTON[1:], *ETTIN[1:]}


@pytest.mark.parametrize("name", sorted(ADAPTERS.keys() - SIZES))
def test_check_holds(name: str, arguments: Callable[[str], tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = CliRunner().invoke(command, [name, "--requests", "1", *arguments(name)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert f"{name} holds what it declares" in done.stdout


MISSING = {
    "yes-no": "yes-no: name the layout: --set layout=... one of bge-reranker-v2-gemma, gmr, ",
    "gmr-3b": "gmr-3b: name the checkpoint: --set path=",
    "rerank-api": "rerank-api: the option 'url' must be given (--set url=..., or options= in Python)",
    "vllm": "vllm: the option 'model' must be given (--set model=..., or options= in Python)",
    "cross-encoder": "cross-encoder: the option 'path' must be given (--set path=..., or options= in Python)",
    "bi-encoder": "bi-encoder: the option 'path' must be given (--set path=..., or options= in Python)",
    "mteb": "mteb: the option 'name' must be given (--set name=..., or options= in Python)",
    "bge-reranker-v2-m3": "BAAI/bge-reranker-v2-m3 cannot be loaded: ",
    "lighton-rerank-pw-0.8b": "lightonai/LightOn-rerank-PW-0.8B cannot be loaded: ",
    "lighton-rerank-pw-2b": "lightonai/LightOn-rerank-PW-2B cannot be loaded: ",
    "lighton-rerank-pw-4b": "lightonai/LightOn-rerank-PW-4B cannot be loaded: ",
    **{name: f"cross-encoder/{name}-v1 cannot be loaded: " for name in ETTIN},
    "listwise": "lightonai/LightOn-rerank-LW-2B cannot be loaded: ",
}
PINNED = ("qwen3-vl-reranker-2b", "qwen3-vl-reranker-8b", "qwen3-reranker-0.6b", "qwen3-reranker-4b")
PINNED += (
    "gmr-7b",
    "zerank-2",
    "jina-reranker-v3.5",
    "qwen3-reranker-8b",
    "mxbai-rerank-base-v2",
    "mxbai-rerank-large-v2",
)
PINNED += ("gme-2b", "gme-7b", "qwen3-vl-embedding-2b", "qwen3-vl-embedding-8b", "siglip", "siglip2")
PINNED += ("nemotron-3.5-rerank-8b", "llama-nemotron-rerank-vl-1b")


@pytest.mark.parametrize("name", sorted({*ON_THE_ENGINE, *SERVED, *OTHERS}))
def test_what_is_missing_is_said_in_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MRB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(sys, "argv", ["mrb", "check", name, *TEXT_TASK, "--requests", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert told.startswith("mrb: ")
    assert len(told.splitlines()) == 1, told
    usual = "is set and it is not cached" if name in PINNED else "give the commit to load"
    assert MISSING.get(name, usual) in told


@pytest.mark.parametrize("option", ["device=cuda", "device=mps"])
def test_a_gpu_that_is_not_there_is_said_in_one_line(option: str, tiny: Tiny) -> None:
    with pytest.raises(AdapterError, match=f"^{option}: this machine has none that torch .* can use$"):
        load_reranker("gmr-7b", dict(word.split("=") for word in (f"path={tiny('qwen2_5_vl')}", option)))


@pytest.mark.parametrize("point", ADAPTERS.values(), ids=lambda point: point.name)
def test_each_says_whether_it_has_met_its_real_weights(point: EntryPoint) -> None:
    card = " ".join((importlib.import_module(point.module).__doc__ or "").split()).lower()
    if point.name in WITH_THEIR_WEIGHTS:
        assert "run on its real weights here" in card
        assert "never run on" not in card
        assert point.name in list_run_here()
    elif point.name not in ("yes-no", *WITHOUT_WEIGHTS):
        assert "never run " in card
        assert point.name not in list_run_here()
