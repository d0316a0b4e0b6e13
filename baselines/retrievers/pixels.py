"""The first stage `pixels`: image-to-image search by colour and shape."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mrb.baselines.retrievers.features import Float64, read_image_features
from mrb.data.task_data import ItemTable, TaskData
from mrb.errors import CandidatesError
from mrb.rerankers.model_card import make_plain_card
from mrb.retrieval import RankedList, search_exact


class Pixels:
    """Cosine of hand-made image features (thumbnail, edge directions, colours) of query and document, over the whole
    corpus.

    The query's text is ignored. Documents without an image are never found; a query without one is an error.
    """

    card = make_plain_card("image")

    def search(self, data: TaskData, depth: int) -> Iterator[RankedList]:
        """Yield the documents whose images look most like each query's."""
        doc_ids, documents = make_vectors(data.corpus)
        query_ids, queries = make_vectors(data.queries)
        if not doc_ids or len(query_ids) < len(data.queries):
            raise CandidatesError(f"task {data.task.id}: pixels needs an image in every query and in the documents")
        return search_exact(data.task.id, query_ids, queries, doc_ids, documents, depth)


def make_vectors(table: ItemTable) -> tuple[list[str], Float64]:
    """Return (ids, features as rows) of the items that have an image. Equal images are read once."""
    known: dict[str, Float64] = {}
    ids, rows = [], []
    for item_id in table:
        image = table.item(item_id).image
        if image is None:
            continue
        if image.sha256 not in known:
            known[image.sha256] = read_image_features(image).vector
        ids.append(item_id)
        rows.append(known[image.sha256])
    return ids, np.stack(rows) if rows else np.empty((0, 0), np.float64)
