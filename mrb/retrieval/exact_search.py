"""Find exact nearest neighbours among vectors, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from mrb.candidates.self_matches import RankedList
from mrb.candidates.top_k import select_top_k

QUERY_BLOCK = 64
DOCUMENT_BLOCK = 65_536
# The rounding of a matrix product depends on processor, library, number of threads and place in the block. Products are
# computed in float64 and rounded to six decimals, so that equal vectors tie and a list can be reproduced.
DECIMALS = 6

Vectors = npt.NDArray[np.floating]


def search_exact(
    task_id: str, query_ids: Sequence[str], queries: Vectors, doc_ids: Sequence[str], documents: Vectors, depth: int
) -> Iterator[RankedList]:
    """Find the documents with the largest inner product by exhaustive search, without an index or approximation.

    Args:
        task_id: The task's id, for the order of ties.
        query_ids: The ids of the queries.
        queries: Shape (n_queries, width), any float type. Rows of length 1 make the score a cosine.
        doc_ids: The ids of the documents.
        documents: Shape (n_documents, width), any float type.
        depth: The largest number of documents per query.

    Returns:
        (query id, document ids, scores) of each query in order. Scores are rounded to six decimals.
    """
    search = ExactSearch(task_id, query_ids, queries, depth)
    for first in range(0, len(documents), DOCUMENT_BLOCK):
        search.add(doc_ids[first : first + DOCUMENT_BLOCK], documents[first : first + DOCUMENT_BLOCK])
    return search.results()


class ExactSearch:
    """An incremental `search_exact` for documents that arrive in blocks and never fit in memory together.

    The result does not depend on the block boundaries. It holds n_queries x `depth` results in memory.
    """

    def __init__(self, task_id: str, query_ids: Sequence[str], queries: Vectors, depth: int) -> None:
        self._task_id = task_id
        self._query_ids = query_ids
        self._queries = queries
        self._depth = depth
        self._found: list[tuple[list[str], npt.NDArray[np.float32]]] = [([], np.empty(0, np.float32))] * len(query_ids)

    def add(self, doc_ids: Sequence[str], documents: Vectors) -> None:
        """Score every query against a block of documents of shape (n_documents, width)."""
        part = documents.astype(np.float64)
        for start in range(0, len(self._query_ids), QUERY_BLOCK):
            block_queries = self._queries[start : start + QUERY_BLOCK].astype(np.float64)
            block = np.round(block_queries @ part.T, DECIMALS).astype(np.float32)
            for row, scores in enumerate(block, start=start):
                self._merge(row, doc_ids, scores)

    def results(self) -> Iterator[RankedList]:
        """Yield the current lists, in the order of the queries."""
        for query_id, (doc_ids, scores) in zip(self._query_ids, self._found, strict=True):
            yield query_id, doc_ids, scores

    def _merge(self, row: int, doc_ids: Sequence[str], scores: npt.NDArray[np.float32]) -> None:
        names, kept = self._found[row]
        # A document below the last score of a full list cannot enter it, but one that ties with the last can.
        hits = np.flatnonzero(scores >= kept[-1]) if len(kept) == self._depth else np.arange(len(scores))
        if len(hits):
            merged = [*names, *(doc_ids[hit] for hit in hits.tolist())]
            values = np.concatenate([kept, scores[hits]])
            self._found[row] = select_top_k(self._task_id, self._query_ids[row], merged, values, self._depth)
