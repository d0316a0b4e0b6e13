"""Qwen3-VL-Reranker (arXiv 2601.04720): Qwen/Qwen3-VL-Reranker-2B and -8B, Apache-2.0.

Prompt and score follow QwenLM/Qwen3-VL-Embedding, src/models/qwen3_vl_reranker.py; tested against numbers of that code
(tests/builders/authors/qwen3-vl-reranker.json). Takes text, image and both. The authors' code resizes with
qwen_vl_utils; MRB uses the checkpoint's own image processor with the same limits, which gives the same scores. The
commits are those that mteb 2.26 names. Never run on their real weights here.
"""

from __future__ import annotations

from mrb.engine.published_prompts import QWEN3_VL
from mrb.engine.yes_no import YesNo
from mrb.rerankers.model_card import make_engine_card


class Qwen3VLReranker2B(YesNo):
    """Qwen/Qwen3-VL-Reranker-2B."""

    card = make_engine_card("2B")
    model = "Qwen/Qwen3-VL-Reranker-2B"
    revision = "4bd860ac4f15ad1897a214615cccc700f8f71818"
    prompt = QWEN3_VL


class Qwen3VLReranker8B(Qwen3VLReranker2B):
    """Qwen/Qwen3-VL-Reranker-8B."""

    card = make_engine_card("8B")
    model = "Qwen/Qwen3-VL-Reranker-8B"
    revision = "407993db318a67dbb333bbeb8b1521fb703a3bb1"
