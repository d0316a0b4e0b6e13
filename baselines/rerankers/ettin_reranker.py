"""Ettin rerankers (May 2026): cross-encoder/ettin-reranker-17m-v1 to -1b-v1, text cross-encoders on ModernBERT.

Apache-2.0. Plain text pairs in English, no prompt; the score is the raw logit of the checkpoint's own modules (first
token, Dense, LayerNorm, Dense), without an activation. 7,999 tokens, as in the configuration. The commits are those
that mteb 2.26 names. The 17M is small enough for a CPU. Tested against transformers and the layers by hand, after a
public port (tests/baselines/test_cross_encoder_files.py). Never run on their real weights here.
"""

from __future__ import annotations

from mrb.baselines._util.training_data import ETTIN_DATA
from mrb.baselines.rerankers.pinned_cross_encoder import PinnedCrossEncoder, make_cross_encoder_card
from mrb.rerankers.training_data import TrainingData

_HELD = "our own reading"
_DATA = TrainingData("mteb 2.26.24", ETTIN_DATA)


class EttinReranker17M(PinnedCrossEncoder):
    """cross-encoder/ettin-reranker-17m-v1."""

    card = make_cross_encoder_card("16.8M", compared_with=_HELD, gpu="no", trained_on=_DATA)
    model = "cross-encoder/ettin-reranker-17m-v1"
    revision = "9e4aa35321a6dd1a43ca313f500c4b4f7cfb5cc6"


class EttinReranker32M(EttinReranker17M):
    """cross-encoder/ettin-reranker-32m-v1."""

    card = make_cross_encoder_card("31.9M", compared_with=_HELD, gpu="no", trained_on=_DATA)
    model = "cross-encoder/ettin-reranker-32m-v1"
    revision = "b33e5ceb5110773ea9cf5e00c9bedc83a8c2afdd"


class EttinReranker68M(EttinReranker17M):
    """cross-encoder/ettin-reranker-68m-v1."""

    card = make_cross_encoder_card("68.1M", compared_with=_HELD, gpu="no", trained_on=_DATA)
    model = "cross-encoder/ettin-reranker-68m-v1"
    revision = "d166fa88ddde3c42bc3ee92f7df476d941c8204a"


class EttinReranker150M(EttinReranker17M):
    """cross-encoder/ettin-reranker-150m-v1."""

    card = make_cross_encoder_card("149M", compared_with=_HELD, trained_on=_DATA)
    model = "cross-encoder/ettin-reranker-150m-v1"
    revision = "025501c4e0f9bbeb4c5b198318e0089ff061cc14"


class EttinReranker400M(EttinReranker17M):
    """cross-encoder/ettin-reranker-400m-v1."""

    card = make_cross_encoder_card("395M", compared_with=_HELD, trained_on=_DATA)
    model = "cross-encoder/ettin-reranker-400m-v1"
    revision = "5dca36282a5d85f368d2544002513a29159b4c9e"


class EttinReranker1B(EttinReranker17M):
    """cross-encoder/ettin-reranker-1b-v1."""

    card = make_cross_encoder_card("1.03B", compared_with=_HELD, trained_on=_DATA)
    model = "cross-encoder/ettin-reranker-1b-v1"
    revision = "7d20e9baad17016fdf5549c08f69a2d7ca3e60c3"
