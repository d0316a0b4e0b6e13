"""What a cross-encoder takes follows from its configuration and its chat template, also those that others published."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrb.data.inputs import Inputs
from mrb.errors import AdapterError
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.live import load_live_reranker
from tests.builders import museum
from tests.builders.services import llava_cross_encoder

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("offline")]

Tiny = Callable[[str], Path]

TEMPLATES = json.loads((museum.HERE / "chat_templates.json").read_text(encoding="utf-8"))["templates"]
ALL = Inputs.both("text", "image", "image+text")
DOCUMENTS = "{% for p in messages[1]['content'] %}{{ '<image>' if p.type == 'image' else p.text }}{% endfor %}"
TEXT_ONLY = "{% for m in messages %}{{ m.role }}:{% for p in m['content'] %}{{ p.text }}{% endfor %};{% endfor %}"
ONE_IMAGE = (
    "{% set ns = namespace(n=0) %}{% for m in messages %}{{ m.role }}:{% for p in m['content'] %}"
    "{% if p.type == 'image' %}{% set ns.n = ns.n + 1 %}<image>{% else %}{{ p.text }}{% endif %}{% endfor %};"
    "{% endfor %}{% if ns.n > 1 %}{{ raise_exception('one image a pair') }}{% endif %}"
)
"""Image queries go with no image document, so they are not declared."""


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llava_cross_encoder(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def model(vision: Path) -> Any:
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(vision))


def derive(model: Any, template: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(model[0].processor, "chat_template", template)
    return load_live_reranker(model).info


def test_a_template_that_refuses_image_queries(
    model: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The published template of Nemotron-3.5-Rerank-8B: texts as queries, one image a document."""
    with caplog.at_level(logging.INFO, "mrb"):
        info = derive(model, TEMPLATES["nemotron_3_5_rerank"], monkeypatch)
    assert info.inputs == Inputs(query=("text",), document=("text", "image", "image+text"))
    assert info.max_images == 1
    assert "queries of image, image+text are not covered: its chat template raised: Queries must be text" in caplog.text


@pytest.mark.parametrize(
    ("template", "query", "document"),
    [
        ("query:{{ messages[0]['content'][0]['text'] }};" + DOCUMENTS, ("text",), ("text", "image", "image+text")),
        (TEXT_ONLY, ("text",), ("text",)),
        (ONE_IMAGE, ("text",), ("text", "image", "image+text")),
    ],
)
def test_what_does_not_reach_the_prompt_is_not_taken(
    model: Any, monkeypatch: pytest.MonkeyPatch, template: str, query: Any, document: Any
) -> None:
    assert derive(model, template, monkeypatch).inputs == Inputs(query=query, document=document)


@pytest.mark.parametrize("one", ["message['role'] == 'query'", "message['role'] == 'document'", "true", "false"])
def test_a_template_that_shows_the_first_image_alone_takes_one(
    model: Any, monkeypatch: pytest.MonkeyPatch, one: str
) -> None:
    template = (
        "{% for message in messages %}{% set ns = namespace(n=0) %}{{ message.role }}:{% for p in message['content'] %}"
        "{% if p.type == 'text' %}{{ p.text }}{% elif ns.n == 0 or not (ONE) %}{% set ns.n = 1 %}<image>{% endif %}"
        "{% endfor %};{% endfor %}"
    )
    info = derive(model, template.replace("ONE", one), monkeypatch)
    assert (info.inputs, info.max_images) == (ALL, None if one == "false" else 1)


def test_a_published_template_that_writes_any_role_takes_everything(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = derive(model, TEMPLATES["qwen2_vl"], monkeypatch)
    assert (info.inputs, info.max_images) == (ALL, None)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (DOCUMENTS, "leaves the content out"),
        (TEMPLATES["qwen3_vl"], "leaves the content out"),
        (TEMPLATES["qwen3_5_think"], "raised: No user query found in messages."),
    ],
)
def test_a_template_without_queries_is_refused(
    model: Any, monkeypatch: pytest.MonkeyPatch, template: str, why: str
) -> None:
    with pytest.raises(AdapterError, match=f"cannot render a query and a document: its chat template {why}"):
        derive(model, template, monkeypatch)


def test_inputs_may_be_narrowed_and_not_widened(vision: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = '{"query": ["text"], "document": ["text", "image"]}'
    found = load_reranker("cross-encoder", {"path": str(vision), "inputs": stated})
    assert found.info.inputs == Inputs(query=("text",), document=("text", "image"))
    assert load_live_reranker(model).info.inputs == ALL
    assert load_live_reranker(model, {"inputs": ("text",)}).info.inputs == Inputs.both("text")
    monkeypatch.setattr(model[0].processor, "chat_template", TEXT_ONLY)
    with pytest.raises(
        AdapterError, match=r"does not take image documents, which the adapter's inputs name: its chat template"
    ):
        load_live_reranker(model, {"inputs": {"query": ("text",), "document": ("image",)}})


def test_a_pinned_model_is_not_widened_by_its_adapter(tiny: Tiny, vision: Path) -> None:
    """The adapter declares pages; a text model in its place would score them as empty texts."""
    said = (
        r"lighton-rerank-pw-2b: .* does not take image documents, which the adapter's inputs name: pairs of this model"
    )
    with pytest.raises(AdapterError, match=said):
        load_reranker("lighton-rerank-pw-2b", {"path": str(tiny("ms_marco"))})
    info = load_reranker("lighton-rerank-pw-2b", {"path": str(vision)}).info
    assert (info.inputs, info.max_images) == (Inputs(query=("text",), document=("text", "image")), 1)
