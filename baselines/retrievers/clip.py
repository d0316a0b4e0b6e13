"""CLIP (arXiv 2103.00020): openai/clip-vit-base-patch32 (151M weights, 512 dimensions).

Licence: MIT like its code; the card states none for the weights (unconfirmed). `--set
path=openai/clip-vit-large-patch14` or another replaces it; the commit must hold safetensors. No prompt: texts are
truncated at 77 tokens, as in training. CLIP's own image processor (short side to 224, centre crop: the rest is not
seen). An item with text and image gets the sum of the two vectors, each of length 1 (like CLIP-SF in UniIR, arXiv
2311.17136, but without learnt weights). Instructions are not used. Never run on its real weights here.
"""

from __future__ import annotations

from mrb.engine.two_towers import TwoTowers
from mrb.rerankers.model_card import make_engine_card


class CLIP(TwoTowers):
    """openai/clip-vit-base-patch32."""

    card = make_engine_card("151M", "MIT (unconfirmed)", "our own reading")
    model = "openai/clip-vit-base-patch32"
    model_type = "clip"
    loader = "CLIPModel"
    padding = "longest"
    text_tokens = 77
    masked = True
