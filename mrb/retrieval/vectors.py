"""Exact nearest neighbours among vectors, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from mrb.retrieval.order import best_first
from mrb.retrieval.retriever import Found

QUERY_BLOCK = 64
DOCUMENT_BLOCK = 65_536
# A matrix product rounds differently with another processor, library or number of threads, and at another place in a
# block. Products are taken in float64 and cut to six decimals, so that equal vectors tie and a list can be made again.
DECIMALS = 6

Vectors = npt.NDArray[np.floating]


def nearest(
    task_id: str, query_ids: Sequence[str], queries: Vectors, doc_ids: Sequence[str], documents: Vectors, depth: int
) -> Iterator[Found]:
    """The `depth` documents with the greatest inner product, for each query in order.

    `queries` is (n_queries, width) and `documents` (n_documents, width), of any float type; rows of length 1 make the
    score a cosine. Exhaustive: no index, no approximation. Scores are rounded to six decimals.
    """
    for start in range(0, len(query_ids), QUERY_BLOCK):
        asked = queries[start : start + QUERY_BLOCK].astype(np.float64)
        block = np.empty((len(asked), len(documents)), np.float32)
        for first in range(0, len(documents), DOCUMENT_BLOCK):
            part = documents[first : first + DOCUMENT_BLOCK].astype(np.float64)
            block[:, first : first + DOCUMENT_BLOCK] = np.round(asked @ part.T, DECIMALS)
        for query_id, scores in zip(query_ids[start : start + QUERY_BLOCK], block, strict=True):
            yield (query_id, *best_first(task_id, query_id, doc_ids, scores, depth))
