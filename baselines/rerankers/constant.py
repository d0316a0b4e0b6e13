"""The reranker `constant`: the result of ties alone."""

from __future__ import annotations

from collections.abc import Sequence

from mrb.rerankers.model_card import make_plain_card
from mrb.rerankers.reranker import Request


class Constant:
    """The same score for every pair, so that only the benchmark's tie-breaking decides the order.

    Covers: all inputs. It must do no better than `random`: a scoring rule that broke ties by first-stage order, by
    relevance or by position in a file would show here. Not trained. Licence: Apache-2.0, part of MRB.
    """

    card = make_plain_card()
    kind = "pointwise"
    max_images = None
    version = "1"
    batch_invariant = True

    def score(self, request: Request) -> Sequence[float]:
        """Return 0 for each candidate."""
        return [0.0] * len(request.candidates)
