"""Qwen3-Reranker (text): Qwen/Qwen3-Reranker-0.6B, -4B and -8B, Apache-2.0.

Prompt and score follow the model card and QwenLM/Qwen3-Embedding; tested against numbers of that code
(tests/builders/authors/qwen3-reranker.json). The causal model is loaded: loaded for sequence classification it would
get a random head. Takes text. The commits are those that mteb 2.26 names.
Never run on their real weights here.
"""

from __future__ import annotations

from mrb.engine.published_prompts import QWEN3
from mrb.engine.yes_no import YesNo
from mrb.rerankers.model_card import make_engine_card
from mrb.rerankers.training_data import TrainingData

TRAINED_ON = TrainingData(
    "mteb 2.26.24",
    (
        "T2Reranking",
        "MSMARCO",
        "NQ",
        "HotpotQA",
        "DuRetrieval",
        "MIRACLReranking",
        "MrTidyRetrieval",
        "MultiLongDocRetrieval",
        "CodeSearchNet",
    ),
)


class Qwen3Reranker06B(YesNo):
    """Qwen/Qwen3-Reranker-0.6B."""

    card = make_engine_card("0.6B", trained_on=TRAINED_ON)
    inputs = ("text",)
    model = "Qwen/Qwen3-Reranker-0.6B"
    revision = "6e9e69830b95c52b5fd889b7690dda3329508de3"
    prompt = QWEN3


class Qwen3Reranker4B(Qwen3Reranker06B):
    """Qwen/Qwen3-Reranker-4B."""

    card = make_engine_card("4.02B", trained_on=TRAINED_ON)
    model = "Qwen/Qwen3-Reranker-4B"
    revision = "f16fc5d5d2b9b1d0db8280929242745d79794ef5"


class Qwen3Reranker8B(Qwen3Reranker06B):
    """Qwen/Qwen3-Reranker-8B."""

    card = make_engine_card("8.19B", trained_on=TRAINED_ON)
    model = "Qwen/Qwen3-Reranker-8B"
    revision = "5fa94080caafeaa45a15d11f969d7978e087a3db"
