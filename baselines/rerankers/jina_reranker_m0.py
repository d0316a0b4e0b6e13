"""jina-reranker-m0: jinaai/jina-reranker-m0 on Qwen2-VL-2B, CC-BY-NC-4.0: not for commercial use.

Prompt, score token and head (Linear, ReLU, Linear to one number, minus 2.65) follow the checkpoint's modeling code and
vLLM's jina_vl.py; tested against numbers of the former, from a public copy
(tests/builders/authors/jina-reranker-m0.json). Its remote code is not run: MRB loads the Qwen2-VL weights by name and
refuses missing ones (with newer transformers that code loads random weights without an error). Ranking uses the raw
logit, without the sigmoid. The authors' code takes one modality per side; joining image and text is MRB's reading.
Never run on its real weights here.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrb.engine.published_prompts import JINA_M0
from mrb.engine.yes_no import YesNo
from mrb.rerankers.model_card import make_engine_card

if TYPE_CHECKING:
    from mrb.engine.head import Head

_LOG = logging.getLogger("mrb.engine")
SHIFT = 2.65
_HEAD = ("score.0.weight", "score.0.bias", "score.2.weight", "score.2.bias")


class JinaRerankerM0(YesNo):
    """jinaai/jina-reranker-m0."""

    card = make_engine_card("2.45B", "CC-BY-NC-4.0: not for commercial use")
    model = "jinaai/jina-reranker-m0"
    prompt = JINA_M0
    # `make_head` reads the score head; the vocabulary's head is not used.
    ignored = (r"^score\.", r"^lm_head\.")

    def make_head(self, model: Any, folder: Path, tokenizer: Any) -> Head:
        """Return the two-layer head stored with the language model."""
        from mrb.engine.checkpoint import read_weights
        from mrb.engine.head import make_mlp_head

        _LOG.warning("%s: the weights' licence is CC-BY-NC-4.0: not for commercial use", self.name)
        weights = read_weights(folder, _HEAD)
        w1, b1, w2, b2 = (weights[name].to(model.device) for name in _HEAD)
        return make_mlp_head((w1, b1, w2, b2), SHIFT)
