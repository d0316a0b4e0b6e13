"""Base class of rerankers that compare vectors of query and document: each vector is computed once while it is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from mrb.data.items import Item
from mrb.rerankers.reranker import Request

if TYPE_CHECKING:
    from mrb.retrieval.retriever import Float32

CACHE_BYTES = 128 * 1024 * 1024
"""Size of the vectors that are kept for further requests."""
_REQUESTS_AHEAD = 32

Key = tuple[str, str, str]
"""(side, prompt or instruction, content hash of the item): what a vector depends on."""


class VectorReranker:
    """Scores pairs by their vectors. A subclass computes vectors and compares them."""

    kind = "pointwise"

    def score_stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Sequence[float]]]:
        """Yield (key, scores) of each request. New items of several requests are embedded together."""
        iterator = iter(requests)
        while group := list(islice(iterator, _REQUESTS_AHEAD)):
            wanted: dict[Key, Item] = {}
            for request in group:
                wanted[self.make_key("query", request, request.query)] = request.query
                wanted.update({self.make_key("document", request, item): item for item in request.candidates})
            found = self._embed(wanted)
            for request in group:
                documents = [found[self.make_key("document", request, item)] for item in request.candidates]
                query = found[self.make_key("query", request, request.query)]
                yield request.key, self.compare_vectors(query, documents) if documents else []

    def make_key(self, side: str, request: Request, item: Item) -> Key:
        """Return what the vector of an item of the request depends on."""
        raise NotImplementedError

    def compute_vectors(self, items: Mapping[Key, Item]) -> Iterator[tuple[Key, Any]]:
        """Yield (key, vector) of each item, in any order; a vector has `nbytes`."""
        raise NotImplementedError

    def compare_vectors(self, query: Any, documents: Sequence[Any]) -> list[float]:
        """Return the score of the query with each of one or more documents."""
        raise NotImplementedError

    def forget_vectors(self) -> None:
        """Free the vectors that are kept."""
        self._vectors.clear()

    @cached_property
    def _vectors(self) -> OrderedDict[Key, Any]:
        return OrderedDict()

    def _embed(self, wanted: Mapping[Key, Item]) -> dict[Key, Any]:
        """Return the vector of each item, and keep the newest."""
        found = {key: self._vectors[key] for key in wanted if key in self._vectors}
        for key in found:
            self._vectors.move_to_end(key)
        new = sorted(wanted.keys() - found.keys())  # sorted: batches do not depend on the order of requests
        if new:
            found |= self.compute_vectors({key: wanted[key] for key in new})
        self._vectors.update(found)
        size = next((vector.nbytes for vector in found.values()), 0)
        while self._vectors and len(self._vectors) * size > CACHE_BYTES:
            self._vectors.popitem(last=False)
        return found


class EncoderReranker(VectorReranker):
    """A first stage's encoder as a reranker: the score is the inner product, as in the first stage's own search.

    A subclass has the methods `encode_queries` and `encode_documents` of `mrb.retrieval.retriever.Encoder`.
    """

    batch_size: int

    def make_key(self, side: str, request: Request, item: Item) -> Key:
        """Return what the vector of an item depends on: that of a query also on the task's instruction."""
        return side, request.instruction if side == "query" else "", item.content_hash

    def compute_vectors(self, items: Mapping[Key, Item]) -> Iterator[tuple[Key, Float32]]:
        """Yield (key, vector) of each item, encoded in batches of the first stage's own size."""
        alike: dict[tuple[str, str], list[Key]] = {}
        for key in items:
            alike.setdefault(key[:2], []).append(key)
        for (side, instruction), keys in alike.items():
            for start in range(0, len(keys), self.batch_size):
                part = keys[start : start + self.batch_size]
                chosen = [items[key] for key in part]
                rows = self.encode_queries(chosen, instruction) if side == "query" else self.encode_documents(chosen)
                yield from zip(part, map(np.copy, rows), strict=True)  # a view would keep the whole batch alive

    def compare_vectors(self, query: Any, documents: Sequence[Any]) -> list[float]:
        """Return the inner product of the query with each document."""
        scores: list[float] = (np.stack(documents) @ query).tolist()
        return scores

    def encode_queries(self, items: Sequence[Item], instruction: str) -> Float32:
        """Return float32 (n, width), one row per query."""
        raise NotImplementedError

    def encode_documents(self, items: Sequence[Item]) -> Float32:
        """Return float32 (n, width), one row per document."""
        raise NotImplementedError
