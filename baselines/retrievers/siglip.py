"""SigLIP (arXiv 2303.15343): google/siglip-base-patch16-224, Apache-2.0 (203M weights, 768 dimensions).

`--set path=google/siglip-so400m-patch14-384` or another replaces it. No prompt: texts are truncated and padded to 64
tokens without a mask, as in training (the vector is read at the last position, so other padding gives other vectors).
The checkpoint's image processor resizes an image to a square. An item with text and image gets the sum of the two
vectors, each of length 1. Instructions are not used. Its tokenizer, which lowers letters and drops punctuation, needs
`sentencepiece` and `protobuf`. The commit is the one that mteb names. Never run on its real weights here.
"""

from __future__ import annotations

from mrb.engine.two_towers import TwoTowers
from mrb.rerankers.model_card import ModelCard
from mrb.rerankers.training_data import TrainingData


class SigLIP(TwoTowers):
    """google/siglip-base-patch16-224."""

    card = ModelCard(
        "203M",
        compared_with="our own reading",
        extra="siglip",
        packages=("torch", "transformers", "sentencepiece", "google.protobuf"),
        gpu="advised",
        trained_on=TrainingData("mteb 2.26.24: WebLI alone"),
    )
    model = "google/siglip-base-patch16-224"
    commit = "7fd15f0689c79d79e38b1c2e2e2370a7bf2761ed"
    model_type = "siglip"
    loader = "SiglipModel"
    padding = "max_length"
    text_tokens = 64
    masked = False
