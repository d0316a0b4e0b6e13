"""`bge-reranker-v2-m3`: BAAI/bge-reranker-v2-m3, a multilingual text cross-encoder (XLM-RoBERTa, 568M parameters).

Licence: Apache-2.0 (model card). Plain text pairs, no prompt; 1,024 tokens, the length that its authors fine-tuned with
and recommend (huggingface.co/BAAI/bge-reranker-v2-m3/discussions/9). Never run on its real weights here: tested on a
tiny random checkpoint of the same class.
"""

from __future__ import annotations

from mrb.baselines._util.training_data import BGE_M3_DATA
from mrb.baselines.rerankers.pinned_cross_encoder import PinnedCrossEncoder, make_cross_encoder_card
from mrb.rerankers.training_data import TrainingData


class BgeRerankerV2M3(PinnedCrossEncoder):
    """BAAI/bge-reranker-v2-m3."""

    card = make_cross_encoder_card(
        "0.57B",
        "Apache-2.0 (unconfirmed)",
        "our own reading",
        gpu="no",
        trained_on=TrainingData("mteb 2.26.24", BGE_M3_DATA),
    )
    model = "BAAI/bge-reranker-v2-m3"
    revision = "953dc6f6f85a1b2dbfca4c34a2796e7dde08d41e"
    length = 1024
