"""The reranker `constant`: what ties give."""

from __future__ import annotations

from collections.abc import Sequence

from mrb.rerankers.reranker import Request


class Constant:
    """The same score for every pair, so that the benchmark's tie-breaking alone decides the order.

    Covers: all inputs. It must do no better than `random`: a scoring rule that breaks ties by first-stage order, by
    relevance or by position in a file would show here. Learnt: nothing. Licence: Apache-2.0, part of MRB.
    """

    kind = "pointwise"
    version = "1"
    batch_invariant = True

    def score(self, request: Request) -> Sequence[float]:
        """0 for each candidate."""
        return [0.0] * len(request.candidates)
