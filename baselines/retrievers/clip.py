"""CLIP (arXiv 2103.00020): openai/clip-vit-base-patch32 (151M weights, 512 wide), MIT as its code; the card
states no licence of the weights (unconfirmed).

`--set path=openai/clip-vit-large-patch14` or another takes its place; the commit must hold safetensors. No prompt:
texts as they stand, cut at 77 tokens, which the model has been trained on; CLIP's own image processor (short side to
224, centre crop: what lies outside is not seen). An item with text and image has the sum of the two vectors, each of
length 1 (as CLIP-SF in UniIR, arXiv 2311.17136, but with no learnt weights). Instructions are not read.
Never run on its real weights here.
"""

from __future__ import annotations

from mrb.engine.two_towers import TwoTowers


class CLIP(TwoTowers):
    """openai/clip-vit-base-patch32."""

    model = "openai/clip-vit-base-patch32"
    model_type = "clip"
    loader = "CLIPModel"
    padding = "longest"
    text_tokens = 77
    masked = True
