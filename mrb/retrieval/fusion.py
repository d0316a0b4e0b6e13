"""Reciprocal rank fusion of several first stages."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from mrb.candidates.self_matches import RankedList
from mrb.candidates.top_k import select_top_k
from mrb.data.task_data import TaskData
from mrb.errors import CandidatesError
from mrb.rerankers.declaration import find_uncovered_images, read_max_images
from mrb.rerankers.plugins import RETRIEVERS, find_installed_name
from mrb.retrieval.retriever import Retriever

logger = logging.getLogger(__name__)

RRF_K = 60
POOL = 1000


class Fusion:
    """Reciprocal rank fusion: a document's score is the sum of 1 / (RRF_K + rank) over the lists that hold it.

    Ranks count from 1. A first stage that does not cover a task (`covers`) is left out; if one remains, its list is
    returned unchanged. Source: Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and
    individual Rank Learning Methods", SIGIR 2009.

    Args:
        retrievers: The first stages. Each returns `POOL` documents per query, or the list's depth if that is greater.
    """

    def __init__(self, retrievers: Sequence[Retriever]) -> None:
        self.retrievers = tuple(retrievers)

    def search(self, data: TaskData, depth: int) -> Iterator[RankedList]:
        """Return the fused list of each query.

        Raises CandidatesError if none of the first stages covers the task.
        """
        asked = [retriever for retriever in self.retrievers if covers_task(retriever, data)]
        if not asked:
            raise CandidatesError(f"task {data.task.id}: none of the fused first stages covers it")
        for retriever in self.retrievers:
            if retriever not in asked:
                logger.info(
                    f"{data.task.id}: {_find_name(retriever)} does not cover the task; the fusion leaves it out"
                )
        return asked[0].search(data, depth) if len(asked) == 1 else self._fused(asked, data, depth)

    def _fused(self, retrievers: Sequence[Retriever], data: TaskData, depth: int) -> Iterator[RankedList]:
        searches = [retriever.search(data, max(depth, POOL)) for retriever in retrievers]
        for found in zip(*searches, strict=True):
            query_id = found[0][0]
            fused: dict[str, float] = {}
            for _, doc_ids, _ in found:
                for rank, doc_id in enumerate(doc_ids, start=1):
                    fused[doc_id] = fused.get(doc_id, 0.0) + 1.0 / (RRF_K + rank)
            scores = np.fromiter(fused.values(), np.float32, len(fused))
            yield (query_id, *select_top_k(data.task.id, query_id, list(fused), scores, depth))


def _find_name(retriever: Retriever) -> str:
    writer = getattr(retriever, "writer", None)  # of an encoder
    return str(getattr(writer, "name", None) or find_installed_name(type(retriever), RETRIEVERS))


def covers_task(retriever: Retriever, data: TaskData) -> bool:
    """Return whether a retriever covers a task: its items have no more images than `max_images` allows, and its method
    `covers`, if it has one, agrees."""
    says = getattr(retriever, "covers", None)
    return check_images(retriever, data) is None and (says is None or bool(says(data)))


def check_images(retriever: Retriever, data: TaskData) -> str | None:
    """Return why the task's items have too many images for a retriever, or None. A fusion decides by its parts."""
    if isinstance(retriever, Fusion):
        return None
    most = read_max_images(type(retriever).__name__, retriever)
    over = find_uncovered_images(most, data.task)
    return f"{over}; the first stage declares max_images = {most}" if over else None
