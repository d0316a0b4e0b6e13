"""Scan a block of vectors for the pairs that may enter a list: float32 products by numpy, torch or faiss."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from mrb.errors import MRBError
from mrb.retrieval.retriever import Float32

if TYPE_CHECKING:
    import torch

BackendName = Literal["auto", "numpy", "torch", "faiss"]
Rows = npt.NDArray[np.intp]
Hits = tuple[Rows, Rows, Float32]
"""Query rows (ascending), document rows and float32 products of some pairs."""


@dataclass(frozen=True)
class SearchOptions:
    """How embeddings are stored and searched. No option changes a list.

    `backend` multiplies. `max_memory` bounds what a search holds beside the data and the encoder, and `max_disk` an
    encoder's vectors of one task on disk, both in bytes; by default a search takes a block of
    `exact_search.BLOCK_BYTES`, and vectors what the disk has free.
    """

    backend: BackendName = "auto"
    max_memory: int | None = None
    max_disk: int | None = None


FLOAT32_UNIT = 2.0**-24
REDUCED_UNIT, REDUCED_SUM_UNIT = 2.0**-8, 2.0**-21
"""The same where torch may multiply float32 as TF32 (11 bits) or bfloat16 (8 bits): tensor cores also truncate sums."""
QUERY_TILE, DOCUMENT_TILE = 1024, 4096
"""The products that are in memory at a time: 16 MiB, large enough for the matrix product to run at its full rate."""
MAX_PENDING = 4_000_000
"""The number of pairs after which hits are handed on, so that many ties do not fill the memory."""
FAISS_SPARE = 32
"""How many documents more than the depth faiss is asked for, so that few queries need a second scan."""


class Backend(Protocol):
    """Scans blocks of documents for one matrix of queries."""

    name: str
    factor_unit: float
    """The unit roundoff to which factors are rounded before they are multiplied; 0 where they are used as they are."""
    sum_unit: float
    """The unit roundoff of products and sums."""

    def scan(self, documents: Float32, cuts: Float32, slack: Float32, depth: int) -> Iterator[Hits]:
        """Yield the pairs of a block that may be among the best of their query, each pair at most once.

        Left out is a pair whose product is below its query's cut, or below the `depth`-th largest product of the query
        in this block by more than its slack. A pair may be there though it could be left out.

        Args:
            documents: Shape (n_documents, width).
            cuts: The smallest product of interest of each query; -inf for any.
            slack: Of each query.
            depth: The length of a list.
        """
        ...


class _Tiles:
    """A scan tile by tile, whose products a subclass computes. `_at_once` tiles are multiplied at the same time."""

    name: str
    factor_unit = 0.0
    sum_unit = FLOAT32_UNIT
    _at_once = 1
    _query_tile, _document_tile = QUERY_TILE, DOCUMENT_TILE

    def scan(self, documents: Float32, cuts: Float32, slack: Float32, depth: int) -> Iterator[Hits]:
        """Yield the pairs that may be among the best (`Backend.scan`)."""
        for first in range(0, len(cuts), self._query_tile):
            queries = slice(first, first + self._query_tile)
            cut, wide = cuts[queries, None], slack[queries, None]
            found: list[Hits] = []
            places = range(0, len(documents), self._document_tile)
            for place in range(0, len(places), self._at_once):
                starts = places[place : place + self._at_once]
                blocks = [documents[start : start + self._document_tile] for start in starts]
                for start, scores in zip(starts, self._multiply(queries, blocks), strict=True):
                    rows, columns, values, cut = self._select(scores, cut, wide, depth)
                    found.append((rows, start + columns, values))
                if sum(len(rows) for rows, _, _ in found) > MAX_PENDING:
                    yield _join(first, found)
                    found = []
            if found:
                yield _join(first, found)

    def _multiply(self, queries: slice, blocks: Sequence[Float32]) -> Sequence[Any]:
        """Return the products of these queries with each block of documents."""
        raise NotImplementedError

    def _select(self, scores: Any, cut: Float32, slack: Float32, depth: int) -> tuple[Rows, Rows, Float32, Float32]:
        """Return (rows, columns, products) of the products that reach the cut, and the cut, which is raised first if a
        tile has more of them than a list can hold."""
        raise NotImplementedError


class NumpyBackend(_Tiles):
    """Products by numpy's BLAS, on all its threads."""

    name = "numpy"

    def __init__(self, queries: Float32) -> None:
        self._queries = queries
        self._buffer = np.empty(min(QUERY_TILE, len(queries)) * DOCUMENT_TILE, np.float32)

    def _multiply(self, queries: slice, blocks: Sequence[Float32]) -> Sequence[Float32]:
        (block,), part = blocks, self._queries[queries]
        out = self._buffer[: len(part) * len(block)].reshape(len(part), len(block))
        return [np.matmul(part, block.T, out=out)]

    def _select(self, scores: Float32, cut: Float32, slack: Float32, depth: int) -> tuple[Rows, Rows, Float32, Float32]:
        hits = np.flatnonzero(scores >= cut)
        if len(hits) > 2 * depth * len(scores):
            cut = np.maximum(cut, np.partition(scores, -depth, axis=1)[:, -depth, None] - slack)
            hits = np.flatnonzero(scores >= cut)
        rows, columns = np.divmod(hits, scores.shape[1])
        return rows, columns, scores.reshape(-1)[hits], cut


class TorchBackend(_Tiles):
    """Products by torch: on all its GPUs, which share the tiles, else on the CPU."""

    name = "torch"

    def __init__(self, queries: Float32) -> None:
        import torch

        self._torch = torch
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        devices = [torch.device("cuda", number) for number in range(count)] or [torch.device("cpu")]
        self._at_once = len(devices)
        if count:
            self._query_tile, self._document_tile = 4096, 16_384
        self._queries = [torch.from_numpy(queries).to(device) for device in devices]
        if not _multiplies_in_float32():
            self.factor_unit, self.sum_unit = REDUCED_UNIT, REDUCED_SUM_UNIT

    def _multiply(self, queries: slice, blocks: Sequence[Float32]) -> Sequence[torch.Tensor]:
        pairs = zip(self._queries, blocks, strict=False)  # the last tiles may be fewer than the devices
        return [rows[queries] @ self._torch.from_numpy(block).to(rows.device).T for rows, block in pairs]

    def _select(
        self, scores: torch.Tensor, cut: Float32, slack: Float32, depth: int
    ) -> tuple[Rows, Rows, Float32, Float32]:
        bound = self._torch.from_numpy(cut).to(scores.device)
        hits = (scores >= bound).nonzero(as_tuple=True)
        if len(hits[0]) > 2 * depth * len(scores):
            best = scores.topk(depth, dim=1).values[:, -1:]
            bound = self._torch.maximum(bound, best - self._torch.from_numpy(slack).to(scores.device))
            hits = (scores >= bound).nonzero(as_tuple=True)
        rows, columns = (part.cpu().numpy() for part in hits)
        return rows, columns, scores[hits].cpu().numpy(), bound.cpu().numpy()


class FaissBackend:
    """The best of each query by `faiss.knn`; a query whose cut these do not certify is scanned again by numpy."""

    name = "faiss"
    factor_unit = 0.0
    sum_unit = FLOAT32_UNIT

    def __init__(self, queries: Float32) -> None:
        import faiss

        self._faiss = faiss
        self._queries = np.ascontiguousarray(queries)

    def scan(self, documents: Float32, cuts: Float32, slack: Float32, depth: int) -> Iterator[Hits]:
        """Yield the pairs that may be among the best (`Backend.scan`)."""
        documents = np.ascontiguousarray(documents)
        wanted = min(len(documents), depth + FAISS_SPARE)
        tile = max(1, MAX_PENDING // wanted)
        for first in range(0, len(cuts), tile):
            part = slice(first, first + tile)
            values, columns = self._faiss.knn(
                self._queries[part], documents, wanted, metric=self._faiss.METRIC_INNER_PRODUCT
            )
            cut, again = cuts[part], np.empty(0, np.intp)
            if wanted < len(documents):
                cut = np.maximum(cut, values[:, depth - 1] - slack[part])
                again = np.flatnonzero(values[:, -1] >= cut)
            hits = (values >= cut[:, None]) & (columns >= 0)
            hits[again] = False
            rows, places = np.nonzero(hits)
            yield first + rows, columns[rows, places], values[rows, places]
            if len(again):
                rest = NumpyBackend(self._queries[part][again])
                for rows, found, products in rest.scan(documents, cut[again], slack[part][again], depth):
                    yield first + again[rows], found, products


def open_backend(name: BackendName, queries: Float32) -> Backend:
    """Return the backend of this name for these queries. All find the same lists.

    Args:
        name: `auto` is torch where this process has imported it already, as encoders do, else numpy.
        queries: Shape (n_queries, width).

    Raises:
        MRBError: A package is not installed.
    """
    if name == "numpy" or (name == "auto" and "torch" not in sys.modules):
        return NumpyBackend(queries)
    if name == "faiss":
        check_backend(name)
        return FaissBackend(queries)
    check_backend("torch")
    return TorchBackend(queries)


def check_backend(name: BackendName) -> None:
    """Raise MRBError if the backend's package is not installed."""
    extra = {"faiss": "faiss", "torch": "models"}.get(name)
    if extra and importlib.util.find_spec(name) is None:
        raise MRBError(f"--search {name} needs {name}, which is not installed: pip install 'mrb[{extra}]'")


def _multiplies_in_float32() -> bool:
    """Return whether torch is set to multiply float32 in full precision. The setting is that of the encoder in this
    process, so it is read and never changed."""
    import torch

    try:
        return torch.get_float32_matmul_precision() == "highest" and not torch.backends.cuda.matmul.allow_tf32
    except RuntimeError:  # torch refuses to answer where its old and its new setting were both used
        return False


def _join(first: int, found: Sequence[Hits]) -> Hits:
    """Join the hits of tiles that begin with query `first`, sorted by query."""
    rows, columns, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(rows.astype(np.uint16), kind="stable")  # in linear time; a tile has fewer than 65,536 queries
    return first + rows[order], columns[order], values[order]
