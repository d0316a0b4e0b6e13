"""LightOn-rerank PW (July 2026): lightonai/LightOn-rerank-PW-0.8B, -2B and -4B on Qwen3.5, Apache-2.0.

A query is text, a document is a text or one page image, as in mteb's wrapper. sentence-transformers loads them, as its
authors and mteb do: the prompt is the chat template in the checkpoint, the score z(Yes) - z(No) by the token ids in
1_LogitScore. Neither could be read here, so the tests hold the adapter to mteb's wrapper
(tests/builders/authors/lighton-rerank-pw.json) with a template of our own in their place. The commits are those that
mteb 2.26 names. transformers' processor of Qwen3.5 needs torchvision, which no extra installs. The listwise models
(LW) are `listwise`. Never run on their real weights here.
"""

from __future__ import annotations

from mrb.baselines._util.training_data import LIGHTON_DATA
from mrb.baselines.rerankers.pinned_cross_encoder import PinnedCrossEncoder, make_cross_encoder_card
from mrb.data.inputs import StatedInputs
from mrb.rerankers.training_data import TrainingData

_PORT = "the maintainers' port (mteb)"
_INPUTS: StatedInputs = {"query": ("text",), "document": ("text", "image")}
_DATA = TrainingData("mteb 2.26.24", LIGHTON_DATA)


class LightOnRerankPW2B(PinnedCrossEncoder):
    """lightonai/LightOn-rerank-PW-2B."""

    card = make_cross_encoder_card("2.21B", compared_with=_PORT, trained_on=_DATA)
    model = "lightonai/LightOn-rerank-PW-2B"
    revision = "c5333533d5ebea2142490d5eacd42f0c8363c808"
    inputs = _INPUTS


class LightOnRerankPW08B(LightOnRerankPW2B):
    """lightonai/LightOn-rerank-PW-0.8B."""

    card = make_cross_encoder_card("0.85B", compared_with=_PORT, trained_on=_DATA)
    model = "lightonai/LightOn-rerank-PW-0.8B"
    revision = "e2459c2554b95969a68cba3aa6f0bd696723934f"


class LightOnRerankPW4B(LightOnRerankPW2B):
    """lightonai/LightOn-rerank-PW-4B."""

    card = make_cross_encoder_card("4.54B", compared_with=_PORT, trained_on=_DATA)
    model = "lightonai/LightOn-rerank-PW-4B"
    revision = "8f0e0c2d506734bf61ff67ab3c4553efebddba39"
