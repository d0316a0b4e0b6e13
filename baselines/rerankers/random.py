"""The reranker `random`: what chance gives."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mrb.rerankers.reranker import Request


class Random:
    """A random score for each pair, the same in every run: a hash of the seed and of what query and candidate show.

    Covers: all inputs. Pointwise; two candidates with the same content tie. Learnt: nothing. Licence: Apache-2.0, part
    of MRB. `seed` (0) gives another draw.
    """

    kind = "pointwise"
    version = "1"
    batch_invariant = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def score(self, request: Request) -> Sequence[float]:
        """One number from 0 to below 1 for each candidate, uniform; exact in float32."""
        query = f"{self.seed} {request.query.content_hash}"
        return [_uniform(f"{query} {candidate.content_hash}") for candidate in request.candidates]


def _uniform(key: str) -> float:
    # 24 bits: all that a float32 holds between 0 and 1 without rounding two draws into one.
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:3], "big") / 2**24
