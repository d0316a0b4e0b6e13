"""Exact nearest neighbours among vectors, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mrb.retrieval.order import best_first
from mrb.retrieval.retriever import Float32, Found

QUERY_BLOCK = 256
# A matrix product may round the same pair differently at another place in a block. Two documents with equal vectors
# must tie, so scores are cut to six decimals before they are ranked.
DECIMALS = 6


def nearest(
    task_id: str, query_ids: Sequence[str], queries: Float32, doc_ids: Sequence[str], documents: Float32, depth: int
) -> Iterator[Found]:
    """The `depth` documents with the greatest inner product, for each query in order.

    `queries` is (n_queries, width) and `documents` (n_documents, width), both float32; rows of length 1 make the score
    a cosine. Exhaustive: no index, no approximation. Scores are rounded to six decimals.
    """
    for start in range(0, len(query_ids), QUERY_BLOCK):
        block = np.round(queries[start : start + QUERY_BLOCK] @ documents.T, DECIMALS)
        for query_id, scores in zip(query_ids[start : start + QUERY_BLOCK], block, strict=True):
            yield (query_id, *best_first(task_id, query_id, doc_ids, scores, depth))
