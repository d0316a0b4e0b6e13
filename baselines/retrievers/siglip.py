"""SigLIP (arXiv 2303.15343) and SigLIP 2 (arXiv 2502.14786), both Apache-2.0.

`siglip`: google/siglip-base-patch16-224 (203M weights, 768 dimensions). `siglip2`: google/siglip2-base-patch16-224
(375M, 768 dimensions), whose texts may be in many languages. `--set path=google/siglip-so400m-patch14-384`, or
google/siglip2-so400m-patch14-384, replaces it. No prompt: texts are truncated and padded to 64 tokens without a mask,
as in training (the vector is read at the last position, so other padding gives other vectors). The checkpoint's image
processor resizes an image to a square. An item with text and image gets the sum of the two vectors, each of length 1.
Instructions are not used.

SigLIP's tokenizer, which lowers letters and drops punctuation, needs `sentencepiece` and `protobuf`. SigLIP 2 has
Gemma's, with an end token and no start token, which lowers nothing; the model was trained on lowered texts
(huggingface/transformers, pull request 43101 and convert_siglip2_to_hf.py), so MRB lowers them. SigLIP 2's NaFlex
variants (model_type siglip2) have an image processor of their own and are refused. The commits are those that mteb
names. Never run on its real weights here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from mrb.engine.two_towers import TwoTowers
from mrb.rerankers.model_card import ModelCard, make_engine_card
from mrb.rerankers.training_data import TrainingData

if TYPE_CHECKING:
    import torch


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
    revision = "7fd15f0689c79d79e38b1c2e2e2370a7bf2761ed"
    model_type = "siglip"
    loader = "SiglipModel"
    padding = "max_length"
    text_tokens = 64
    masked = False


class SigLIP2(SigLIP):
    """google/siglip2-base-patch16-224."""

    card = make_engine_card(
        "375M", compared_with="our own reading", trained_on=TrainingData("mteb 2.26.24: WebLI alone")
    )
    model = "google/siglip2-base-patch16-224"
    revision = "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2"
    refused: ClassVar[Mapping[str, str]] = {
        "siglip2": "a NaFlex variant, which keeps an image's shape; those of a fixed size are supported"
    }

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the token ids of lowered texts: no start token, the end token, padding after it."""
        import torch

        tokenizer, most = self._tokenizer, self.text_tokens
        rows = tokenizer(
            [text.lower() for text in texts],
            add_special_tokens=False,  # what is added differs between releases of transformers
            truncation=True,
            max_length=most - 1,
            split_special_tokens=True,
        )["input_ids"]
        end, padding = tokenizer.eos_token_id, tokenizer.pad_token_id
        return {"input_ids": torch.tensor([[*row, end, *[padding] * (most - 1 - len(row))] for row in rows])}
