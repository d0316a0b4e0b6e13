"""The prompts of models whose authors render a chat template, against the published template (museum).

The messages are typed from the authors' code, the template is rendered by transformers; MRB has its strings from
neither.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from mrb.baselines.rerankers import listwise
from mrb.baselines.retrievers import gme, qwen3_vl_embedding
from mrb.data.items import Item
from mrb.engine.prompt_template import PromptTemplate, render
from mrb.engine.published_prompts import GMR, GMR_CL, LAMRA_QWEN2, LAMRA_QWEN25, MONOQWEN, QWEN3, QWEN3_VL
from tests.builders import museum
from tests.builders.requests import INSTRUCTION, picture

pytestmark = pytest.mark.torch

Part = dict[str, str]
Messages = list[dict[str, Any]]
FACTS = json.loads((museum.HERE / "chat_templates.json").read_text(encoding="utf-8"))
PICTURE = picture(40, 30)
ITEMS = {
    "text": Item("What is {{ messages }}, {% if %}?"),
    "spaced": Item(" \n spaced <out> \n\n"),
    "image": Item("", PICTURE),
    "both": Item("its caption\n", PICTURE),
    "several": Item("their caption", images=[PICTURE, picture(30, 40)]),
    "empty": Item(""),
}
JUDGE = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the "
    'answer can only be "yes" or "no".'
)


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


def _parts(item: Item, empty: str | None = None) -> list[Part]:
    """The images before the text."""
    image = [{"type": "image", "image": "a picture"} for _ in item.images]
    found = [*image, *([_text(item.text)] if item.text else [])]
    return found or ([_text(empty)] if empty is not None else [])


def _turns(system: str | None, *content: Part) -> Messages:
    first = [{"role": "system", "content": [_text(system)]}] if system is not None else []
    return [*first, {"role": "user", "content": list(content)}]


def _judged(default: str, empty: str | None) -> Callable[[str, Item, Item], Messages]:
    """Qwen3-VL-Embedding, src/models/qwen3_vl_reranker.py, 8ce3aab: format_mm_instruction."""

    def messages(instruction: str, q: Item, d: Item) -> Messages:
        sides = (_text("<Query>:"), *_parts(q, empty), _text("\n<Document>:"), *_parts(d, empty))
        return _turns(JUDGE, _text("<Instruct>: " + (instruction or default)), *sides)

    return messages


def _mono(instruction: str, q: Item, d: Item) -> Messages:
    """AnswerDotAI/rerankers, monovlm_ranker.py, 7bb2521: no system turn of its own."""
    ask = (
        "Assert the relevance of the previous image document to the following query, answer True or False. "
        "The query is: "
    )
    return _turns(None, *_parts(d), _text(ask), *_parts(q))


def _lamra(gap: str) -> Callable[[str, Item, Item], Messages]:
    """Code-kunkun/LamRA, datasets_mbeir_rerank.py, 7286399: the instruction is part of the query's text."""
    ask = (
        f"I will provide you with a query and a candidate. Please evaluate whether the candidate{gap}meets the "
        "requirements of the query. If it does, respond with 'Yes'; if it doesn't, responed with 'No'."
    )

    def messages(instruction: str, q: Item, d: Item) -> Messages:
        asked = Item(f"{instruction} {q.text}" if instruction and q.text else instruction or q.text, images=q.images)
        return _turns(None, _text(ask), _text("Query:"), *_parts(asked), _text("Candidate:"), *_parts(d))

    return messages


def _embedded(default: str, empty: str | None) -> Callable[[str, Item, Item], Messages]:
    return lambda instruction, item, _: _turns(instruction or default, *_parts(item, empty))


PASSAGES = "Given a web search query, retrieve relevant passages that answer the query"
CANDIDATES = "Given a search query, retrieve relevant candidates that answer the query."
CASES: dict[str, tuple[PromptTemplate, str, Callable[[str, Item, Item], Messages]]] = {
    "gmr": (GMR, "qwen2_vl", _judged(PASSAGES, None)),
    "gmr-cl": (GMR_CL, "qwen2_vl", _judged(PASSAGES, None)),
    "qwen3-vl-reranker": (QWEN3_VL, "qwen3_vl", _judged(CANDIDATES, "NULL")),
    "monoqwen2-vl": (MONOQWEN, "qwen2_vl", _mono),
    "lamra-rank": (LAMRA_QWEN2, "qwen2_vl", _lamra(" " * 24)),
    "lamra-rank-qwen2.5": (LAMRA_QWEN25, "qwen2_vl", _lamra(" ")),
    "gme": (gme.PROMPT, "qwen2_vl", _embedded("You are a helpful assistant.", None)),
    "qwen3-vl-embedding": (qwen3_vl_embedding.PROMPT, "qwen3_vl", _embedded("Represent the user's input.", "NULL")),
}
ENDS = {"gme": "<|endoftext|>", "qwen3-vl-embedding": "<|endoftext|>"}
"""What the authors' code adds after the template."""


def test_the_template_is_the_published_one() -> None:
    for name, wanted in FACTS["sha256"].items():
        assert hashlib.sha256(FACTS["templates"][name].encode()).hexdigest() == wanted


@pytest.mark.parametrize("document", ITEMS)
@pytest.mark.parametrize("query", ITEMS)
@pytest.mark.parametrize("name", CASES)
def test_the_prompt_is_what_the_authors_template_renders(name: str, query: str, document: str) -> None:
    layout, template, messages = CASES[name]
    for instruction in (INSTRUCTION, ""):
        conversation = messages(instruction, ITEMS[query], ITEMS[document])
        (rendered,), _ = render_jinja_template(
            conversations=[conversation], chat_template=FACTS["templates"][template], add_generation_prompt=True
        )
        other = Item("") if name in ENDS else ITEMS[document]  # a vector is of one item
        found = render(layout, instruction, ITEMS[query], other).text
        assert found == rendered + ENDS.get(name, "")


@pytest.mark.parametrize("query", ["text", "spaced"])
def test_qwen3_reranker_writes_what_the_template_writes_without_thinking(query: str) -> None:
    """Its authors write the prompt out; the template of Qwen3 agrees if `enable_thinking` is false, and only then."""
    user = f"<Instruct>: {INSTRUCTION}\n<Query>: {ITEMS[query].text}\n<Document>: d"
    rendered = {
        thinking: text.replace("S", JUDGE, 1).replace(" U\n", user)
        for thinking, text in FACTS["rendered"]["qwen3"].items()
    }
    found = render(QWEN3, INSTRUCTION, ITEMS[query], Item("d")).text
    assert [thinking for thinking, text in rendered.items() if text == found] == ["false"]


@pytest.mark.parametrize(("template", "thinking"), [("qwen3.5 to 2B", "absent"), ("qwen3.5 from 4B", "false")])
def test_listwise_with_a_think_block_writes_what_the_template_writes(template: str, thinking: str) -> None:
    """mteb writes text windows out: an empty thought for the 4B only, which without it begins one by its template."""
    rendered = FACTS["rendered"][template]
    system = "<|im_start|>system\nS<|im_end|>\n"
    assert (
        rendered[thinking] == f"{system}{listwise._HEAD}U{listwise._TAIL}{listwise._THINK}"
    )  # the user's text stripped
    assert FACTS["rendered"]["qwen3.5 from 4B"]["absent"] == f"{system}{listwise._HEAD}U{listwise._TAIL}<think>\n"
