"""The prompts as the models read them, character by character. No tokenizer, no torch."""

from __future__ import annotations

import pytest

from mrb.data.items import ImageHandle, Item
from mrb.engine.prompt_template import PromptTemplate, render
from mrb.engine.published_prompts import (
    BGE_GEMMA,
    GMR,
    GMR_CL,
    GMR_TINY,
    GMR_TINY_CL,
    JINA_M0,
    LAMRA_QWEN2,
    LAMRA_QWEN25,
    LAYOUTS,
    MONOQWEN,
    MXBAI,
    QWEN3,
    QWEN3_VL,
    ZERANK,
)
from mrb.errors import AdapterError

IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
PICTURE = ImageHandle(lambda: b"", where="a test's picture")
JUDGE = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".'
)
QUERY, DOCUMENT = Item("a query"), Item("a document")
BOTH = Item("its text", PICTURE)
EMPTY = Item("")


def shown(layout: PromptTemplate, query: Item, document: Item, instruction: str = "Do so.") -> str:
    return render(layout, instruction, query, document).text


@pytest.mark.parametrize("layout", [GMR, GMR_CL])
def test_gmr(layout: PromptTemplate) -> None:
    assert shown(layout, QUERY, DOCUMENT) == (
        f"<|im_start|>system\n{JUDGE}<|im_end|>\n<|im_start|>user\n"
        "<Instruct>: Do so.<Query>:a query\n<Document>:a document<|im_end|>\n<|im_start|>assistant\n"
    )


def test_gmr_puts_a_picture_before_its_text_on_both_sides() -> None:
    assert f"<Query>:{IMAGE}its text\n<Document>:{IMAGE}its text<|im_end|>" in shown(GMR, BOTH, BOTH)


def test_gmr_leaves_an_empty_side_bare_and_has_a_default_instruction() -> None:
    assert "<Query>:\n<Document>:<|im_end|>" in shown(GMR, EMPTY, EMPTY)
    default = "<Instruct>: Given a web search query, retrieve relevant passages that answer the query<Query>:"
    assert default in shown(GMR, QUERY, DOCUMENT, "")


def test_qwen3_vl_writes_null_for_an_empty_side_and_has_no_line_break_before_the_query() -> None:
    assert shown(QWEN3_VL, EMPTY, Item("", PICTURE), "") == (
        f"<|im_start|>system\n{JUDGE}<|im_end|>\n<|im_start|>user\n"
        "<Instruct>: Given a search query, retrieve relevant candidates that answer the query."
        f"<Query>:NULL\n<Document>:{IMAGE}<|im_end|>\n<|im_start|>assistant\n"
    )


def test_qwen3_has_line_breaks_spaces_and_an_empty_thought() -> None:
    assert shown(QWEN3, QUERY, DOCUMENT) == (
        f"<|im_start|>system\n{JUDGE}<|im_end|>\n<|im_start|>user\n"
        "<Instruct>: Do so.\n<Query>: a query\n<Document>: a document<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


def test_qwen3_tokenises_prefix_body_and_suffix_apart() -> None:
    segments = [segment.text for segment in render(QWEN3, "Do so.", QUERY, DOCUMENT).segments]
    assert len(segments) == 3
    assert segments[1] == "<Instruct>: Do so.\n<Query>: a query\n<Document>: a document"


def test_monoqwen_shows_the_page_first() -> None:
    assert shown(MONOQWEN, QUERY, Item("", PICTURE)) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        f"{IMAGE}Assert the relevance of the previous image document to the following query, answer True or False. "
        "The query is: a query<|im_end|>\n<|im_start|>assistant\n"
    )
    assert MONOQWEN.labels == ("True", "False")


def test_jina_has_no_chat_template_and_the_document_first() -> None:
    assert shown(JINA_M0, QUERY, Item("", PICTURE)) == f"**Document**:\n{IMAGE}\n**Query**:\na query"
    assert JINA_M0.final_token == 100


@pytest.mark.parametrize(("layout", "gap"), [(LAMRA_QWEN2, " " * 24), (LAMRA_QWEN25, " ")])
def test_lamra(layout: PromptTemplate, gap: str) -> None:
    assert shown(layout, BOTH, DOCUMENT) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        f"I will provide you with a query and a candidate. Please evaluate whether the candidate{gap}meets the "
        "requirements of the query. If it does, respond with 'Yes'; if it doesn't, responed with 'No'."
        f"Query:{IMAGE}Do so. its textCandidate:a document<|im_end|>\n<|im_start|>assistant\n"
    )


def test_bge_gemma_joins_pieces_that_are_tokenised_apart() -> None:
    rendered = render(BGE_GEMMA, "", QUERY, DOCUMENT)
    ask = (
        "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a "
        "prediction of either 'Yes' or 'No'."
    )
    pieces = [segment.text for segment in rendered.segments]
    assert pieces == ["<bos>", "A: a query", "\n", "B: a document", "\n", ask]
    assert (BGE_GEMMA.labels, BGE_GEMMA.score) == (("Yes", None), "positive")


def test_gmr_tiny_spends_no_token_on_an_instruction() -> None:
    for layout in (GMR_TINY, GMR_TINY_CL):
        assert shown(layout, BOTH, DOCUMENT) == f"its text{IMAGE}<|im_start|>a document<|im_end|>"
    assert (GMR_TINY.score, GMR_TINY_CL.score) == ("difference", "positive")


def test_mxbai_has_a_line_for_an_instruction_only_where_there_is_one() -> None:
    ask = (
        "You are a search relevance expert who evaluates how well documents match search queries. For each "
        "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
        "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
    )
    system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    for instruction, line in (("Do so.", "instruction: Do so.\n"), ("", "")):
        assert shown(MXBAI, QUERY, DOCUMENT, instruction) == (
            f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{line}query: a query\ndocument: a document\n"
            f"{ask}<|im_end|>\n<|im_start|>assistant\n"
        )


def test_zerank_asks_in_the_system_turn_and_passes_no_instruction() -> None:
    assert shown(ZERANK, QUERY, DOCUMENT) == (
        "<|im_start|>system\na query<|im_end|>\n<|im_start|>user\na document<|im_end|>\n<|im_start|>assistant\n"
    )
    assert (ZERANK.labels, ZERANK.score) == (("Yes", None), "positive")


@pytest.mark.parametrize("layout", [*LAYOUTS, JINA_M0, ZERANK], ids=lambda layout: layout.name)
def test_the_places_of_texts_and_seam(layout: PromptTemplate) -> None:
    rendered = render(layout, "Do so.", QUERY, DOCUMENT)
    for place, text in ((rendered.query_text, "a query"), (rendered.document_text, "a document")):
        assert place is not None
        assert rendered.segments[place[0]].text[place[1] : place[2]] == text
    whole = [segment.text for segment in rendered.segments]
    before = "".join(whole[: rendered.seam[0]]) + whole[rendered.seam[0]][: rendered.seam[1]]
    first, second = ("a query", "a document") if layout.first == "query" else ("a document", "a query")
    assert first in before
    assert second not in before


def test_a_text_with_a_special_token_is_a_literal_segment() -> None:
    rendered = render(GMR, "Do so.", QUERY, Item("x<|im_end|>y"), lambda text: "<|im_end|>" in text)
    assert [s.text for s in rendered.segments if s.literal] == ["x<|im_end|>y"]
    assert rendered.text == shown(GMR, QUERY, Item("x<|im_end|>y"))
    assert rendered.document_text == (1, 0, 12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"template": "{query}{seam}{documents}"}, "unknown placeholder {documents}"),
        ({"template": "{query}{seam}{document}", "score": "ratio"}, "score is 'ratio'"),
        ({"template": "{query}{seam}{document}", "labels": ("yes", None)}, "a difference needs two labels"),
    ],
)
def test_a_layout_that_makes_no_sense_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PromptTemplate("mine", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("side", ["query", "document"])
def test_an_image_for_which_a_template_has_no_place_is_refused(side: str) -> None:
    pair = {"query": Item("q"), "document": Item("d")} | {side: BOTH}
    with pytest.raises(AdapterError, match=f"template {QWEN3.name} shows no images of a {side}"):
        render(QWEN3, "", pair["query"], pair["document"])
