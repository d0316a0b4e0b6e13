"""NVIDIA's multimodal rerankers: text queries; a document is a text, an image, or an image with a text.

- `nemotron-3.5-rerank-8b`: nvidia/Nemotron-3.5-Rerank-8B-BF16, Ministral 3 8B with a Pixtral tower, OpenMDW-1.1.
  Prompt, image tokens and scores follow nemo-automodel 0.7.0 (ministral_bidirectional), whose code was run beside MRB's
  (tests/builders/authors/nemotron-3.5-rerank.json).
- `llama-nemotron-rerank-vl-1b`: nvidia/llama-nemotron-rerank-vl-1b-v2, Llama 3.2 1B with SigLIP 2, NVIDIA Open Model
  License and Llama 3.2 Community License. Network as in nemo-automodel 0.7.0 (llama_nemotron_vl), prompt and tiles as
  in a public copy of the checkpoint's own code (tests/builders/authors/llama-nemotron-rerank-vl.json).

Both are loaded without their remote code. Attention is not causal, the states of all tokens are averaged, and a linear
layer in float32 gives the score, as a raw logit. A task's instruction is not part of their prompts. Never run on their
real weights here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mrb.engine.nemotron import BidirectionalMistral, LlamaNemotron, Pooled
from mrb.engine.published_prompts import LLAMA_NEMOTRON, NEMOTRON_PLAIN, NEMOTRON_RERANK
from mrb.rerankers.model_card import make_engine_card
from mrb.rerankers.training_data import TrainingData

_PAGES = ("VidoreArxivQARetrieval", "VidoreInfoVQARetrieval", "VidoreDocVQARetrieval", "VidoreTatdqaRetrieval")
_TEXTS_8B = (
    *("AppsRetrieval", "BioASQ", "CodeTransOceanContest", "CodeTransOceanDL", "CosQA", "FEVER", "FinePDFs"),
    *("FinQARetrieval", "HotpotQA", "HoVer", "MIRACLRetrieval", "MLQARetrieval", "Nemotron-CC-v2", "NQ", "PAQ"),
    *("RedditClustering", "SpartQA", "SQuAD", "StackOverflowQA", "SyntheticText2SQL", "TempReasonL1", "TriviaQA"),
    *("WikiSQLRetrieval", "WinoGrande"),
)
_TEXTS_1B = ("NQ", "HotpotQA", "MIRACLRetrieval", "MLQARetrieval", "MultiLongDocRetrieval")


class NemotronRerank8B(Pooled):
    """nvidia/Nemotron-3.5-Rerank-8B-BF16.

    On load its chat template is rendered and must show the prompt of the layout. Which of the two prompts the released
    template has could not be read.
    """

    card = make_engine_card(
        "8.38B",
        "OpenMDW-1.1",
        trained_on=TrainingData("mteb 2.26.24", (*_TEXTS_8B, *_PAGES, "VDRMultilingualRetrieval")),
    )
    model = "nvidia/Nemotron-3.5-Rerank-8B-BF16"
    revision = "708e844c3da0bbaa923e9dc310b07da4ffb6a6b5"  # the one that mteb 2.26.24 names
    prompt = NEMOTRON_RERANK
    other_prompts = (NEMOTRON_PLAIN,)
    family = BidirectionalMistral((NEMOTRON_RERANK, NEMOTRON_PLAIN))
    heads = ("language_model.score.weight", "score.weight")
    # `make_head` reads the score head.
    ignored = (r"(^|\.)score\.weight$",)


class LlamaNemotronRerankVL1B(Pooled):
    """nvidia/llama-nemotron-rerank-vl-1b-v2."""

    card = make_engine_card(
        "1.68B",
        "NVIDIA-OML: NVIDIA Open Model License, and Llama 3.2 Community License",
        trained_on=TrainingData("mteb 2.26.24", (*_TEXTS_1B, *_PAGES)),
    )
    model = "nvidia/llama-nemotron-rerank-vl-1b-v2"
    revision = "b8a9987b05b75db5ad949c825cbcbf6eb7c48b5a"  # the one that mteb 2.26.24 names
    prompt = LLAMA_NEMOTRON
    family = LlamaNemotron()
    heads = ("score.weight",)
    # `make_head` reads the score head; SigLIP's own pooling is not used.
    ignored = (r"(^|\.)score\.weight$", r"vision_model\.(vision_model\.)?head\.")

    def get_temperature(self, config: Mapping[str, Any]) -> float:
        """Return config.json's temperature, by which the checkpoint's own code divides the logits."""
        return float(config.get("temperature", 1.0))
