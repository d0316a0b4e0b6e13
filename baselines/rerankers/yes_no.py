"""Any transformers checkpoint that answers with one of two tokens, with a prompt template that the user names.

    mrb run --model yes-no --set path=my-checkpoint --set layout=gmr

So a user's own GMR-like model, trained with MRB or elsewhere, is measured like the published ones: a causal language
model, a Qwen2-VL, Qwen2.5-VL or Qwen3-VL model, or a folder of LoRA weights on one of them.
"""

from __future__ import annotations

from mrb.engine.published_prompts import LAYOUTS
from mrb.engine.yes_no import YesNo
from mrb.rerankers.model_card import ModelCard


class AnyYesNo(YesNo):
    """The checkpoint and the prompt template that the options name."""

    card = ModelCard(
        licence="yours",
        checkpoint="yours",
        takes="what it was trained for",
        needs=("path", "layout"),
        run_here="-",
        extra="models",
        packages=("torch", "transformers"),
        gpu="advised",
    )
    other_prompts = LAYOUTS
