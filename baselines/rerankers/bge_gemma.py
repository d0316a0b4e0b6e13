"""bge-reranker-v2-gemma: BAAI/bge-reranker-v2-gemma on Gemma 2B; Gemma's terms apply (unconfirmed).

Pieces and prompt as in FlagOpen/FlagEmbedding; the score is the logit of Yes. Tested against numbers of that code
(tests/builders/authors/bge-reranker-v2-gemma.json). Takes text.
Never run on its real weights here.
"""

from __future__ import annotations

from mrb.baselines._util.training_data import BGE_M3_DATA
from mrb.engine.published_prompts import BGE_GEMMA
from mrb.engine.yes_no import YesNo
from mrb.rerankers.model_card import make_engine_card
from mrb.rerankers.training_data import TrainingData


class BGEGemma(YesNo):
    """BAAI/bge-reranker-v2-gemma."""

    card = make_engine_card(
        "2.51B",
        "Gemma's terms (unconfirmed)",
        trained_on=TrainingData(
            "FlagOpen/FlagEmbedding: bge-m3-data, Quora and FEVER", (*BGE_M3_DATA, "QuoraRetrieval", "FEVER")
        ),
    )
    inputs = ("text",)
    model = "BAAI/bge-reranker-v2-gemma"
    prompt = BGE_GEMMA
