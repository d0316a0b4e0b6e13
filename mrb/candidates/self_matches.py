"""Remove self-matches, which are candidates that are the query itself, before a list is cut at its depth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mrb._util.hashing import hash_bytes
from mrb.data.task_data import TaskData

RankedList = tuple[str, list[str], npt.NDArray[np.float32]]
"""(query id, document ids, scores), best first."""


def find_self_matches(data: TaskData) -> Mapping[str, frozenset[str]]:
    """Return {query id: documents that are the query itself by the task's rules}, only for queries with some."""
    rules = data.task.rules
    matches: dict[str, set[str]] = {}
    if rules.drop_identical_ids:
        for query_id in data.queries:
            if query_id in data.corpus:
                matches.setdefault(query_id, set()).add(query_id)
    if rules.drop_query_image_from_candidates:
        for query_id, doc_ids in _match_query_images(data):
            matches.setdefault(query_id, set()).update(doc_ids)
    return {query_id: frozenset(doc_ids) for query_id, doc_ids in matches.items()}


def _match_query_images(data: TaskData) -> Iterator[tuple[str, list[str]]]:
    """Yield (query id, documents that show the same images in the same order) for the queries that have some.

    Only images with the byte lengths of a query's are hashed, which are few in a large corpus.
    """
    shown = {query_id: images for query_id in data.queries if (images := data.queries.encoded(query_id))}
    lengths = {_list_sizes(images) for images in shown.values()}
    documents: dict[tuple[str, ...], list[str]] = {}
    for doc_id in data.corpus:
        images = data.corpus.encoded(doc_id)
        if _list_sizes(images) in lengths:
            documents.setdefault(tuple(map(hash_bytes, images)), []).append(doc_id)
    for query_id, images in shown.items():
        same = documents.get(tuple(map(hash_bytes, images)))
        if same:
            yield query_id, same


def _list_sizes(images: Iterable[pa.Buffer]) -> tuple[int, ...]:
    return tuple(image.size for image in images)


def cut_list(found: RankedList, leaving: frozenset[str], depth: int) -> RankedList:
    """Return a query's list without the documents `leaving`, cut at `depth`."""
    query_id, doc_ids, scores = found
    kept = [row for row, doc_id in enumerate(doc_ids) if doc_id not in leaving][:depth]
    return query_id, [doc_ids[row] for row in kept], scores[kept]
