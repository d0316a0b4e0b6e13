"""Prompt templates of pointwise rerankers, as in their authors' code.

If a source could not be read, the template's comment says where the string was found. `docs/design/authors-code.md`
names the sources; tests/baselines/test_prompt_templates.py holds every rendered string.
"""

from __future__ import annotations

from dataclasses import replace

from mrb.engine.prompt_template import PromptTemplate

_JUDGE = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".'
)
_CHAT = "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
_PASSAGES = "Given a web search query, retrieve relevant passages that answer the query"


def _format_chat(system: str, user: str) -> str:
    return _CHAT.replace("{system}", system).replace("{user}", user)


# The text of GMR and of Qwen3-VL-Reranker.
# GMR (arXiv 2510.14824): the string is that of a public script that runs vec-ai/lychee-rerank-mm; the authors' own
# code could not be read. A side with nothing in it leaves its place bare.
_INSTRUCT_TEXT = _format_chat(_JUDGE, "<Instruct>: {instruction}<Query>:{query}{seam}\n<Document>:{document}")
GMR = PromptTemplate("gmr", _INSTRUCT_TEXT, default_instruction=_PASSAGES)
# A contrastively trained model is scored by the logit of "yes" alone, as in its loss.
GMR_CL = PromptTemplate("gmr-cl", _INSTRUCT_TEXT, score="positive", default_instruction=_PASSAGES)

# QwenLM/Qwen3-VL-Embedding, src/models/qwen3_vl_reranker.py: 32 x 32 pixels a token, NULL for an empty side, any number
# of images before the text (since commit 8ce3aab).
QWEN3_VL = PromptTemplate(
    "qwen3-vl-reranker",
    _INSTRUCT_TEXT,
    default_instruction="Given a search query, retrieve relevant candidates that answer the query.",
    empty="NULL",
    max_images=None,
    max_length=10_240,
    min_pixels=4 * 32 * 32,
    max_pixels=1800 * 32 * 32,
)

# Qwen/Qwen3-Reranker, model card: prefix, body and suffix are tokenised apart; the answer follows an empty thought.
QWEN3 = PromptTemplate(
    "qwen3-reranker",
    f"<|im_start|>system\n{_JUDGE}<|im_end|>\n<|im_start|>user\n"
    "{cut}<Instruct>: {instruction}\n<Query>: {query_text}{seam}\n<Document>: {document_text}{cut}"
    "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    default_instruction=_PASSAGES,
    max_length=8192,
)

# lightonai/MonoQwen2-VL-v0.1, model card: the page first, then a sentence that ends with the query. The system turn is
# the one that Qwen2-VL's chat template inserts.
MONOQWEN = PromptTemplate(
    "monoqwen2-vl",
    _format_chat(
        "You are a helpful assistant.",
        "{document}{seam}Assert the relevance of the previous image document to the following query, answer True or "
        "False. The query is: {query}",
    ),
    labels=("True", "False"),
    max_length=8192,
    max_pixels=1280 * 28 * 28,
)

# jinaai/jina-reranker-m0, its modeling code: no chat template, the document first; the score is read at an extra token
# (id 100 of its tokenizer) after the prompt. The labels are not used: the adapter has a head of its own.
JINA_M0 = PromptTemplate(
    "jina-reranker-m0",
    "**Document**:\n{document}{seam}\n**Query**:\n{query}",
    max_length=10_240,
    min_pixels=3136,
    max_pixels=768 * 28 * 28,
    final_token=100,
)

# Code-kunkun/LamRA: one user turn, the task's instruction before the query's own text. "responed" is as in the source,
# and so are the 24 spaces that the Qwen2-VL model was trained with (a line continuation in a string).
_LAMRA = (
    "I will provide you with a query and a candidate. Please evaluate whether the candidate{gap}meets the requirements "
    "of the query. If it does, respond with 'Yes'; if it doesn't, responed with 'No'."
)
_LAMRA_TURN = "Query:{query_image}{instruction}{query_text}{seam}Candidate:{document}"


def _format_lamra(name: str, gap: str) -> PromptTemplate:
    return PromptTemplate(
        name,
        _format_chat("You are a helpful assistant.", _LAMRA.replace("{gap}", gap) + _LAMRA_TURN),
        labels=("Yes", "No"),
        instruction="{text} ",
        max_length=4096,
        max_pixels=300 * 28 * 28,
    )


LAMRA_QWEN2 = _format_lamra("lamra-rank", " " * 24)
LAMRA_QWEN25 = _format_lamra("lamra-rank-qwen2.5", " ")

# FlagOpen/FlagEmbedding, LLM reranker: the pieces are tokenised apart and joined by line breaks.
BGE_GEMMA = PromptTemplate(
    "bge-reranker-v2-gemma",
    "<bos>{cut}A: {query_text}{cut}\n{cut}{seam}B: {document_text}{cut}\n{cut}"
    "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a "
    "prediction of either 'Yes' or 'No'.",
    labels=("Yes", None),
    score="positive",
    max_length=1024,
)

# mixedbread-ai/mxbai-rerank, its library's template: every piece is tokenised apart, so that a full stop and the line
# break after it are two tokens.
MXBAI = PromptTemplate(
    "mxbai-rerank-v2",
    _format_chat(
        "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
        "{cut}{instruction}query: {query_text}{cut}\n{cut}{seam}document: {document_text}{cut}\n{cut}"
        "You are a search relevance expert who evaluates how well documents match search queries. For each "
        "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
        "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:{cut}",
    ),
    labels=("1", "0"),
    instruction="instruction: {text}\n",
    max_length=8192,
)

# zeroentropy/zerank-2, its chat template for the roles query and document: the query is the system turn. The template
# was not read; what it renders is known as token ids (tests/engine/test_vocabulary.py). Not a choice of `yes-no`: any
# chat template with two turns has this form.
ZERANK = PromptTemplate(
    "zerank-2",
    _format_chat("{query_text}{seam}", "{document_text}"),
    labels=("Yes", None),
    score="positive",
    max_length=32_768,
)

# nvidia/Nemotron-3.5-Rerank-8B-BF16, nemo-automodel 0.7.0, ministral_bidirectional/processor.py. The tokenizer's own
# normalizer takes the sign after [ and < away again, so that a text's [IMG] is never an image. The processor's other
# form, without words around the texts, is that of its class's default.
_ZWNJ = "\N{ZERO WIDTH NON-JOINER}"
NEMOTRON_RERANK = PromptTemplate(
    "nemotron-3.5-rerank",
    "{document_image}query: {query_text}{seam}\n\npassage: {document_text}",
    image="[IMG] ",
    image_pad="[IMG]",
    escapes=(("[", f"[{_ZWNJ}"), ("<", f"<{_ZWNJ}")),
    strip_end=True,
    special_tokens=True,
    max_length=32_768,
    flat_positions=True,
)
NEMOTRON_PLAIN = replace(
    NEMOTRON_RERANK, name="nemotron-3.5-rerank-plain", template="{document_image}{query_text}{seam}\n{document_text}"
)

# nvidia/llama-nemotron-rerank-vl-1b-v2, the checkpoint's processing_llama_nemotron_vl.py, prompt "v1"; six tiles of 512
# pixels, as public users of it set; its model card was not read.
LLAMA_NEMOTRON = PromptTemplate(
    "llama-nemotron-rerank-vl",
    "{document_image}question:{query_text}{seam} \n \n passage:{document_text}",
    image="<img><IMG_CONTEXT></img> ",
    image_pad="<IMG_CONTEXT>",
    special_tokens=True,
    max_length=10_240,
    max_pixels=6 * 512 * 512,
    flat_positions=True,
)

# gmr-tiny, which ships with MRB: no system turn and no instruction, to save tokens. The query's text comes first, so
# that the images of both sides are a fixed number of tokens apart. It takes several images and was trained with one.
_TINY = "{query_text}{query_image}{seam}<|im_start|>{document_image}{document_text}<|im_end|>"
GMR_TINY = PromptTemplate("gmr-tiny", _TINY, max_images=None, max_length=64, min_pixels=32 * 32, max_pixels=64 * 64)
GMR_TINY_CL = replace(GMR_TINY, name="gmr-tiny-cl", score="positive")

LAYOUTS = (GMR, GMR_CL, GMR_TINY, GMR_TINY_CL, QWEN3_VL, QWEN3, MONOQWEN, LAMRA_QWEN2, LAMRA_QWEN25, BGE_GEMMA, MXBAI)
"""The templates whose answer is one of two tokens: the choices of `--model yes-no`."""
