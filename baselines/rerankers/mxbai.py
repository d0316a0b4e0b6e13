"""mxbai-rerank v2: mixedbread-ai/mxbai-rerank-base-v2 (0.5B) and -large-v2 (1.5B) on Qwen2.5, Apache-2.0 (unconfirmed).

Template as in mixedbread-ai/mxbai-rerank, every piece tokenised separately; the score is the logit of 1 minus the logit
of 0. Tested against numbers of that code (tests/builders/authors/mxbai-rerank-v2.json). Takes text. The commits are
those that mteb 2.26 names. Never run on their real weights here.
"""

from __future__ import annotations

from mrb.engine.published_prompts import MXBAI
from mrb.engine.yes_no import YesNo
from mrb.rerankers.model_card import make_engine_card
from mrb.rerankers.training_data import TrainingData

TRAINED_ON = TrainingData("mteb 2.26.24", ("MSMARCO",))


class MxbaiBase(YesNo):
    """mixedbread-ai/mxbai-rerank-base-v2."""

    card = make_engine_card("0.5B", "Apache-2.0 (unconfirmed)", trained_on=TRAINED_ON)
    inputs = ("text",)
    version = "2"
    model = "mixedbread-ai/mxbai-rerank-base-v2"
    revision = "3ea9d4dffa7d12a4f366be8e275c349de9fc9865"
    prompt = MXBAI


class MxbaiLarge(MxbaiBase):
    """mixedbread-ai/mxbai-rerank-large-v2."""

    card = make_engine_card("1.5B", "Apache-2.0 (unconfirmed)", trained_on=TRAINED_ON)
    model = "mixedbread-ai/mxbai-rerank-large-v2"
    revision = "ca7e1ee484c37c0ddd8d178a9a5c33cec575c5e6"
