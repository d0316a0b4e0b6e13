"""Remove self-matches, which are candidates that are the query itself, before a list is cut at its depth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mrb._util.hashing import hash_bytes
from mrb.data.task_data import TaskData

RankedList = tuple[str, list[str], npt.NDArray[np.float32]]
"""(query id, document ids, scores), best first."""


def match_query(data: TaskData, query_id: str, doc_ids: Iterable[str]) -> frozenset[str]:
    """Return those of the documents that are the query itself by the task's rules: they have its id, or show the same
    images in the same order."""
    rules = data.task.rules
    doc_ids = tuple(doc_ids)
    own = {query_id} & set(doc_ids) if rules.drop_identical_ids else set()
    if rules.drop_query_image_from_candidates:
        shown = data.queries.encoded(query_id)
        if shown:
            own |= {doc_id for doc_id in doc_ids if _are_same_images(shown, data.corpus.encoded(doc_id))}
    return frozenset(own)


def find_self_matches(data: TaskData) -> Mapping[str, frozenset[str]]:
    """Return {query id: documents that are the query itself by the task's rules}, only for queries with some."""
    rules = data.task.rules
    if not (rules.drop_identical_ids or rules.drop_query_image_from_candidates):
        return {}
    alike = _find_alike(data) if rules.drop_query_image_from_candidates else {}
    matches = {}
    for query_id in data.queries:
        possible = [*alike.get(query_id, ()), *([query_id] if query_id in data.corpus else [])]
        if own := match_query(data, query_id, possible):
            matches[query_id] = own
    return matches


def _find_alike(data: TaskData) -> dict[str, list[str]]:
    """Return {query id: documents with images of the same hashes}, so that few pairs are compared.

    Only images with the byte lengths of a query's are hashed, which are few in a large corpus.
    """
    shown = {query_id: images for query_id in data.queries if (images := data.queries.encoded(query_id))}
    lengths = {_list_sizes(images) for images in shown.values()}
    documents: dict[tuple[str, ...], list[str]] = {}
    for doc_id in data.corpus:
        images = data.corpus.encoded(doc_id)
        if _list_sizes(images) in lengths:
            documents.setdefault(tuple(map(hash_bytes, images)), []).append(doc_id)
    return {query_id: documents.get(tuple(map(hash_bytes, images)), []) for query_id, images in shown.items()}


def _are_same_images(shown: Sequence[pa.Buffer], others: Sequence[pa.Buffer]) -> bool:
    # `equals` compares lengths first, so no image must be hashed.
    return len(shown) == len(others) and all(one.equals(other) for one, other in zip(shown, others, strict=True))


def _list_sizes(images: Iterable[pa.Buffer]) -> tuple[int, ...]:
    return tuple(image.size for image in images)


def cut_list(found: RankedList, leaving: frozenset[str], depth: int) -> RankedList:
    """Return a query's list without the documents `leaving`, cut at `depth`."""
    query_id, doc_ids, scores = found
    kept = [row for row, doc_id in enumerate(doc_ids) if doc_id not in leaving][:depth]
    return query_id, [doc_ids[row] for row in kept], scores[kept]
