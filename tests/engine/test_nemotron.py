"""Bidirectional rerankers of NVIDIA: what the engine does with them, and which checkpoints are refused.

That their scores are right is held by the authors' code (tests/baselines/test_authors_code.py).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrb.data.items import ImageHandle, Item
from mrb.engine import backbone
from mrb.engine.prompt_template import render
from mrb.engine.published_prompts import LLAMA_NEMOTRON, NEMOTRON_PLAIN, NEMOTRON_RERANK
from mrb.errors import AdapterError, DataError
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.reranker import Request
from tests.builders import authors, museum

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]
MODELS = {"nemotron-3.5-rerank-8b": "nemotron_rerank", "llama-nemotron-rerank-vl-1b": "llama_nemotron_vl"}
PAGE = ImageHandle(lambda: b"", where="a test's page")
QUERY = Item("what is [this]?")


@pytest.fixture
def open_one() -> Iterator[Callable[..., Any]]:
    """`open_one("nemotron-3.5-rerank-8b", folder, ...)`: the adapter's object, which is closed at the end."""
    opened = []

    def get(name: str, folder: Path, **options: str) -> Any:
        opened.append(load_reranker(name, {"path": str(folder), "device": "cpu", "max_pixels": "24576", **options}))
        return opened[-1].target

    yield get
    for reranker in opened:
        reranker.close()


@pytest.fixture
def changed(tiny: Tiny, tmp_path: Path) -> Callable[..., Path]:
    """`changed(exhibit, key=value)`: a copy whose config.json says so; None takes a key away."""

    def get(exhibit: str, **values: object) -> Path:
        folder = shutil.copytree(tiny(exhibit), tmp_path / exhibit)
        content = json.loads((folder / "config.json").read_text()) | values
        (folder / "config.json").write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
        return folder

    return get


def documents() -> list[Item]:
    texts = [Item("a"), Item("a longer text about hills " * 9), Item("")]
    return [*texts, Item("", authors.picture("84x56")), Item("with words", authors.picture("61x140"))]


@pytest.mark.parametrize("name", MODELS)
def test_a_score_does_not_depend_on_the_batch(name: str, tiny: Tiny, open_one: Callable[..., Any]) -> None:
    model = open_one(name, tiny(MODELS[name]))
    together = model.score(Request("", QUERY, documents(), 0))
    assert model.engine.stats.shared == 0, "a prefix's states depend on what follows it"
    alone = [model.score(Request("", QUERY, [one], 0))[0] for one in documents()]
    np.testing.assert_allclose(together, alone, atol=2e-6, rtol=0)
    assert np.std(together) > 0.05


def test_the_prompts_are_the_authors() -> None:
    def shown(layout: Any, document: Item) -> str:
        return render(layout, "not shown", QUERY, document).text

    assert shown(NEMOTRON_RERANK, Item("a <b>")) == "query: what is [\u200cthis]?\n\npassage: a <\u200cb>"
    assert shown(NEMOTRON_RERANK, Item(" a \n", PAGE)) == "[IMG] query: what is [\u200cthis]?\n\npassage:  a"
    assert shown(NEMOTRON_RERANK, Item("", PAGE)) == "[IMG] query: what is [\u200cthis]?\n\npassage:"
    assert shown(NEMOTRON_PLAIN, Item("a ")) == "what is [\u200cthis]?\na "
    assert shown(LLAMA_NEMOTRON, Item("a ")) == "question:what is [this]? \n \n passage:a "
    wanted = "<img><IMG_CONTEXT></img> question:what is [this]? \n \n passage:"
    assert shown(LLAMA_NEMOTRON, Item("", PAGE)) == wanted


def test_a_template_of_the_other_prompt_is_refused_and_its_layout_runs(
    changed: Callable[..., Path], open_one: Callable[..., Any]
) -> None:
    folder = changed("nemotron_rerank")
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("use_prompt_template = true", "use_prompt_template = false", 1))
    with pytest.raises(AdapterError, match=r"its prompt is that of --set layout=nemotron-3\.5-rerank-plain$"):
        open_one("nemotron-3.5-rerank-8b", folder)
    open_one("nemotron-3.5-rerank-8b", folder, layout="nemotron-3.5-rerank-plain")
    template.write_text("{{ messages[0]['content'] }}")
    with pytest.raises(AdapterError, match="no layout of this adapter has its prompt"):
        open_one("nemotron-3.5-rerank-8b", folder)
    template.unlink()
    with pytest.raises(AdapterError, match="holds no chat template"):
        open_one("nemotron-3.5-rerank-8b", folder)


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("nemotron-3.5-rerank-8b", {"pooling": "last"}, "config.json has pooling='last'; wanted 'avg'"),
        ("nemotron-3.5-rerank-8b", {"model_type": "qwen3"}, "config.json has model_type='qwen3'; wanted 'mistral3'"),
        ("nemotron-3.5-rerank-8b", {"text_config": {}}, "does not say is_causal=false"),
        ("llama-nemotron-rerank-vl-1b", {"pooling": "last"}, "pooling='last'"),
        ("llama-nemotron-rerank-vl-1b", {"ps_version": "v1"}, "ps_version='v1'; wanted 'v2'"),
        ("llama-nemotron-rerank-vl-1b", {"prompt_template": None}, "prompt_template='None'"),
    ],
)
def test_another_model_is_refused(
    name: str, values: dict[str, object], told: str, changed: Callable[..., Path], open_one: Callable[..., Any]
) -> None:
    with pytest.raises(AdapterError, match=told):
        open_one(name, changed(MODELS[name], **values))


@pytest.mark.parametrize("name", MODELS)
def test_a_missing_head_or_weight_is_refused(
    name: str, tiny: Tiny, tmp_path: Path, open_one: Callable[..., Any]
) -> None:
    weights = museum.read_weights(tiny(MODELS[name]))
    for part in ("score.weight", "layers.1.mlp.down_proj.weight"):
        folder = shutil.copytree(tiny(MODELS[name]), tmp_path / part)
        gone = next(key for key in weights if key.endswith(part))
        museum.write_weights(folder, {key: value for key, value in weights.items() if key != gone})
        with pytest.raises(AdapterError, match=f"holds no .*{part}.* it would be random"):
            open_one(name, folder)


def test_names_of_a_stock_checkpoint_and_an_older_head_are_read(
    tiny: Tiny, tmp_path: Path, open_one: Callable[..., Any]
) -> None:
    """As Mistral publishes: one level more above the layers, none above the towers; the head as NeMo first saved it."""
    folder = shutil.copytree(tiny("nemotron_rerank"), tmp_path / "stock")
    stock = {}
    for key, value in museum.read_weights(folder).items():
        name = key.removeprefix("model.")
        name = name.replace("language_model.", "language_model.model.", 1) if key.startswith("model.lang") else name
        stock["score.weight" if "score" in key else name] = value
    museum.write_weights(folder, stock)
    request = Request("", QUERY, documents(), 0)
    published, other = (open_one("nemotron-3.5-rerank-8b", one) for one in (tiny("nemotron_rerank"), folder))
    assert published.score(request) == other.score(request)


def test_the_tokenizer_decides_about_a_start_token(tiny: Tiny, tmp_path: Path, open_one: Callable[..., Any]) -> None:
    def first(folder: Path) -> int:
        prompter = open_one("nemotron-3.5-rerank-8b", folder).engine.prompter
        return int(prompter.prompts("", [(QUERY, Item("a"))])[0].ids[0])

    bare = shutil.copytree(tiny("nemotron_rerank"), tmp_path / "bare")
    content = json.loads((bare / "tokenizer.json").read_text())
    (bare / "tokenizer.json").write_text(json.dumps(content | {"post_processor": None}))
    assert first(tiny("nemotron_rerank")) == 1
    assert first(bare) != 1


def test_limits_of_an_image(tiny: Tiny, open_one: Callable[..., Any]) -> None:
    pixtral = open_one("nemotron-3.5-rerank-8b", tiny("nemotron_rerank"), max_pixels=str(60 * 60))
    pictures = pixtral.engine.extractor
    assert pictures.tokens(authors.picture("150x90")) == 2 * 3, (
        "a longest edge of 56 pixels: two rows of two and a break"
    )
    with pytest.raises(DataError, match="1 x 300 pixels is too thin for this model: nothing of it is left"):
        pictures.tokens(authors.picture("1x300"))
    tiles = open_one("llama-nemotron-rerank-vl-1b", tiny("llama_nemotron_vl"), max_pixels="1")
    assert tiles.engine.extractor.tokens(authors.picture("150x90")) == 4, "one tile"
    for name, exhibit in MODELS.items():
        with pytest.raises(AdapterError, match="min_pixels has no meaning"):
            open_one(name, tiny(exhibit), min_pixels="100")


def test_causal_attention_is_refused(tiny: Tiny, open_one: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As an older transformers would attend: the flag of the configuration has no effect there."""
    monkeypatch.setattr(backbone, "_make_bidirectional", lambda decoder: setattr(decoder.config, "is_causal", True))
    with pytest.raises(AdapterError, match="attends causally in Ministral3Model, which is bidirectional"):
        open_one("nemotron-3.5-rerank-8b", tiny("nemotron_rerank"), attention="eager")
