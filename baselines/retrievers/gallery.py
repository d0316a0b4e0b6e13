"""The first stage `gallery`: find the labelled images nearest to the query's image, then their documents."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mrb.baselines.rerankers.bm25 import Index
from mrb.baselines.retrievers.features import Float64
from mrb.baselines.retrievers.pixels import make_vectors
from mrb.data.task_data import TaskData
from mrb.errors import CandidatesError
from mrb.rerankers.model_card import make_plain_card
from mrb.retrieval import RankedList, search_exact, select_top_k


class Gallery:
    """ExactSearch labelled image first, text second.

    The gallery is the task's side table if it holds images, else the documents' own images. Documents that share an
    image form a group. Groups are ordered by the similarity of their image to the query's (as in `pixels`), documents
    within a group by BM25 of the query's text; those that share no word with it come last. The score is (groups -
    group's rank) + s / (1 + s) with s the BM25 score, so groups never interleave, whatever the texts say.
    """

    card = make_plain_card("text, image, both")

    def search(self, data: TaskData, depth: int) -> Iterator[RankedList]:
        """Yield the documents behind the nearest gallery images of each query."""
        groups, group_vectors = _group_items(data)
        query_ids, queries = make_vectors(data.queries)
        if not groups or len(query_ids) < len(data.queries):
            raise CandidatesError(
                f"task {data.task.id}: gallery needs an image in every query, and in the side table or the documents"
            )
        index = Index(data)
        row_of = {doc_id: row for row, doc_id in enumerate(index.doc_ids)}
        names = list(groups)
        wanted = min(depth, len(names))  # a group holds at least one document
        for query_id, near, _ in search_exact(data.task.id, query_ids, queries, names, group_vectors, wanted):
            text_scores = index.scores(data.queries.item(query_id).text)
            doc_ids: list[str] = []
            places: list[int] = []
            for place, name in enumerate(near, start=1):
                doc_ids += groups[name]
                places += [len(near) - place] * len(groups[name])
                if len(doc_ids) >= depth:
                    break
            matched = text_scores[[row_of[doc_id] for doc_id in doc_ids]]
            scores = np.asarray(places, np.float32) + matched / (1 + matched)
            yield (query_id, *select_top_k(data.task.id, query_id, doc_ids, scores, depth))


def _group_items(data: TaskData) -> tuple[dict[str, list[str]], Float64]:
    """Return (documents by gallery image, the images' features as rows in that order).

    A group is named by its image's hash.
    """
    gallery = data.side if data.side is not None and data.side.has_images else data.corpus
    groups: dict[str, list[str]] = {}
    for doc_id in gallery:
        image = gallery.item(doc_id).image
        if image is not None and doc_id in data.corpus:
            groups.setdefault(image.sha256, []).append(doc_id)
    ids, rows = make_vectors(gallery)
    row_of = {doc_id: row for row, doc_id in enumerate(ids)}
    return groups, rows[[row_of[doc_ids[0]] for doc_ids in groups.values()]]
