"""The first stage's own order as a run, so that others can be compared with it query by query.

cd benchmarks && mrb run --model as_found
"""

from __future__ import annotations

from collections.abc import Sequence

from mrb.rerankers.reranker import Request


class AsFound:
    """Scores each candidate by its place. Covers all inputs."""

    kind = "setwise"
    uses_first_stage = True
    version = "1"
    batch_invariant = True

    def score(self, request: Request) -> Sequence[float]:
        """Minus the place in the first stage's order."""
        return [-float(place) for place in range(len(request.candidates))]
