"""`bge-reranker-v2-m3`: BAAI/bge-reranker-v2-m3, a multilingual text cross-encoder (XLM-RoBERTa, 568M parameters).

Licence: Apache-2.0 (model card). Plain text pairs, no prompt; 1,024 tokens, the length that its authors fine-tuned with
and recommend (huggingface.co/BAAI/bge-reranker-v2-m3/discussions/9). Never run on its real weights here: tested on a
tiny random checkpoint of the same class.
"""

from __future__ import annotations

from typing import Literal

from mrb.baselines._util.training_data import BGE_M3_DATA
from mrb.baselines.rerankers.cross_encoder import CrossEncoder
from mrb.rerankers.model_card import ModelCard
from mrb.rerankers.training_data import TrainingData


class BgeRerankerV2M3(CrossEncoder):
    """`cross-encoder` with this model's weights, revision and length. Covers text. `path` may be a folder."""

    card = ModelCard(
        "0.57B",
        "Apache-2.0 (unconfirmed)",
        takes="text",
        compared_with="our own reading",
        extra="cross-encoder",
        packages=("torch", "transformers", "sentence_transformers"),
        trained_on=TrainingData("mteb 2.26.24", BGE_M3_DATA),
    )
    name = "bge-reranker-v2-m3"

    def __init__(
        self,
        path: str = "BAAI/bge-reranker-v2-m3",
        revision: str | None = "953dc6f6f85a1b2dbfca4c34a2796e7dde08d41e",
        device: str | None = None,
        dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32",
        max_length: int = 1024,
        batch_size: int = 0,
    ) -> None:
        super().__init__(path, revision, device, dtype, max_length, batch_size)
