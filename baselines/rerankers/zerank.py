"""zerank-2 (November 2025): zeroentropy/zerank-2 on Qwen3-4B, CC-BY-NC-4.0: not for commercial use.

That is the licence at this commit, as mteb 2.26 states it; later commits are reported as Apache-2.0 (unconfirmed). The
query is the system turn and the document the user's, as in the checkpoint's chat template; the score is the logit of
Yes alone, as its sentence-transformers files say since May 2026. The template's text could not be read: the prompt is
held to token ids that another project printed with the real model (tests/engine/test_vocabulary.py), the score to
sentence-transformers (tests/baselines/test_cross_encoder_files.py). The task's instruction is not passed, as in mteb.
Takes text. The commit is that which mteb 2.26 names. Never run on its real weights here.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrb.engine.published_prompts import ZERANK
from mrb.engine.yes_no import YesNo
from mrb.rerankers.model_card import make_engine_card

if TYPE_CHECKING:
    from mrb.engine.head import Head

_LOG = logging.getLogger("mrb.engine")
_COMMIT = "1b0a8f8c70348f5c553f8b534499fe7104ef9a4e"


class ZeRank2(YesNo):
    """zeroentropy/zerank-2, on the Hub also under its new name zeroentropy/zerank-2-reranker."""

    card = make_engine_card(
        "4.02B",
        "CC-BY-NC-4.0: not for commercial use",
        "sentence-transformers itself",
        variants={"zeroentropy/zerank-2-reranker": {"revision": _COMMIT}},
    )
    inputs = ("text",)
    model = "zeroentropy/zerank-2"
    revision = _COMMIT
    prompt = ZERANK

    def make_head(self, model: Any, folder: Path, tokenizer: Any) -> Head:
        """Return the usual head, after a warning about the licence."""
        _LOG.warning("%s: the weights' licence is CC-BY-NC-4.0: not for commercial use", self.name)
        return super().make_head(model, folder, tokenizer)
