"""LamRA-Rank (arXiv 2412.01720): code-kunkun/LamRA-Rank on Qwen2-VL-7B, and -Qwen2.5VL-7b on Qwen2.5-VL.

The weights' licence is unconfirmed (the code is MIT). Pointwise prompt as in Code-kunkun/LamRA; the score is the
log-odds of Yes over No at the first answered token. Tested against numbers of that code
(tests/builders/authors/lamra-rank.json), except for texts: its data loader capitalises each text and ends it with a
full stop, MRB leaves texts unchanged. The authors add the retriever's score, which is another system and not done here.
Takes text, image and both.
Never run on their real weights here.
"""

from __future__ import annotations

from mrb.baselines._util.training_data import MBEIR_DATA
from mrb.engine.published_prompts import LAMRA_QWEN2, LAMRA_QWEN25
from mrb.engine.yes_no import YesNo
from mrb.rerankers.model_card import make_engine_card
from mrb.rerankers.training_data import TrainingData


class LamRARank(YesNo):
    """code-kunkun/LamRA-Rank."""

    card = make_engine_card(
        "8.29B", "unconfirmed", trained_on=TrainingData("the README of its repository: M-BEIR", MBEIR_DATA)
    )
    model = "code-kunkun/LamRA-Rank"
    version = "2"
    prompt = LAMRA_QWEN2
    other_prompts = (LAMRA_QWEN25,)


class LamRARankQwen25(LamRARank):
    """code-kunkun/LamRA-Rank-Qwen2.5VL-7b."""

    model = "code-kunkun/LamRA-Rank-Qwen2.5VL-7b"
    prompt = LAMRA_QWEN25
    other_prompts = (LAMRA_QWEN2,)
