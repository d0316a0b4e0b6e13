"""The reranker `random`: the result of chance."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mrb.rerankers.model_card import make_plain_card
from mrb.rerankers.reranker import Request


class Random:
    """A random score for each pair, the same in every run: a hash of the seed and of the content of query and
    candidate.

    Covers: all inputs. Pointwise; two candidates with the same content tie. Not trained. Licence: Apache-2.0, part of
    MRB. Another `seed` (default 0) gives other scores.
    """

    card = make_plain_card()
    kind = "pointwise"
    max_images = None
    version = "1"
    batch_invariant = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def score(self, request: Request) -> Sequence[float]:
        """Return one uniform number in [0, 1) for each candidate, exact in float32."""
        query = f"{self.seed} {request.query.content_hash}"
        return [_hash_to_unit(f"{query} {candidate.content_hash}") for candidate in request.candidates]


def _hash_to_unit(key: str) -> float:
    # 24 bits: the most that float32 holds in [0, 1) without rounding two numbers into one.
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:3], "big") / 2**24
