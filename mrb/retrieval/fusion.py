"""Reciprocal rank fusion of several first stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mrb.data.task_data import TaskData
from mrb.errors import CandidatesError
from mrb.retrieval.retriever import Found, Retriever
from mrb.retrieval.top_k import best_first

RRF_K = 60
POOL = 1000


class Fusion:
    """Reciprocal rank fusion: a document's score is the sum over the lists that hold it of 1 / (k + its rank there).

    Ranks count from 1, k = 60, and each first stage is asked for `pool` documents (or the depth wanted, if greater).
    A first stage that says it does not cover a task (`covers`) is left out; where one is left, its list is the answer.
    Source: Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
    Methods", SIGIR 2009.
    """

    def __init__(self, retrievers: Sequence[Retriever], k: int = RRF_K, pool: int = POOL) -> None:
        self.retrievers = tuple(retrievers)
        self.k = k
        self.pool = pool

    def search(self, data: TaskData, depth: int) -> Iterator[Found]:
        """The fused lists, query by query; a document that no list holds is not in the answer.

        CandidatesError if none of the first stages covers the task.
        """
        asked = [retriever for retriever in self.retrievers if covers(retriever, data)]
        if not asked:
            raise CandidatesError(f"task {data.task.id}: none of the fused first stages covers it")
        return asked[0].search(data, depth) if len(asked) == 1 else self._fused(asked, data, depth)

    def _fused(self, retrievers: Sequence[Retriever], data: TaskData, depth: int) -> Iterator[Found]:
        searches = [retriever.search(data, max(depth, self.pool)) for retriever in retrievers]
        for found in zip(*searches, strict=True):
            query_id = found[0][0]
            fused: dict[str, float] = {}
            for _, doc_ids, _ in found:
                for rank, doc_id in enumerate(doc_ids, start=1):
                    fused[doc_id] = fused.get(doc_id, 0.0) + 1.0 / (self.k + rank)
            scores = np.fromiter(fused.values(), np.float32, len(fused))
            yield (query_id, *best_first(data.task.id, query_id, list(fused), scores, depth))


def covers(retriever: Retriever, data: TaskData) -> bool:
    """Whether a retriever has anything to say about a task; one that does not say covers all."""
    says = getattr(retriever, "covers", None)
    return says is None or bool(says(data))
