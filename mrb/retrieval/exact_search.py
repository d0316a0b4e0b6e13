"""Find exact nearest neighbours among vectors, block by block.

The score of a pair is its inner product, exact up to one rounding to float64, then rounded to six decimals and to
float32. It depends on the two vectors alone, so lists depend neither on blocks nor on threads, device or library.

A backend multiplies in float32, which finds the few pairs that can be in a list. Only those are scored in float64. What
is left out is certified by a bound of the error of a float32 product: |computed - exact| <= gamma(n) |q| |x|, with
gamma(n) = n u / (1 - n u) and u = 2^-24, whatever the order of the sum and with or without fused multiply-add (N. J.
Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, 2002, sections 3.1 and 3.5, with the
Cauchy-Schwarz inequality).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mrb._util.cores import count_cores
from mrb._util.format import format_size
from mrb.candidates.self_matches import RankedList
from mrb.candidates.top_k import select_top_k
from mrb.data.task import Task
from mrb.errors import CandidatesError
from mrb.retrieval.retriever import Float32
from mrb.retrieval.search_backends import FLOAT32_UNIT, Backend, BackendName, Hits, Rows, open_backend

BLOCK_BYTES = 2**30
"""Documents are gathered to blocks of this size in float32."""
MIN_BLOCK_BYTES = 2**24
"""The smallest block for which a limit of memory is accepted: below, little is multiplied at a time."""
SCAN_BYTES = 2**27
"""What a scan holds beside vectors and lists: the products with a tile, and the pairs that may be in a list."""
STATED_WIDTH = 1536
"""The width, that of GME-2B, for which sizes are stated: an encoder's own is known only when it has encoded."""
SEARCH_THREADS = min(8, count_cores())
"""Threads that score and merge hits, which is mostly reading of memory."""
DECIMALS = 6
"""Encoders' vectors differ in their last bits from batch to batch. Rounding lets equal texts and images tie."""
FLOAT32_TINY, FLOAT32_LIMIT = 2.0**-126, 2.0**126
"""The least normal number, and a limit of lengths below which no float32 product or partial sum overflows."""
FLOAT64_UNIT = 2.0**-53

Vectors = npt.NDArray[np.floating]
Float64 = npt.NDArray[np.float64]


def search_exact(
    task_id: str,
    query_ids: Sequence[str],
    queries: Vectors,
    doc_ids: Sequence[str],
    documents: Vectors,
    depth: int,
    backend: BackendName = "auto",
) -> Iterator[RankedList]:
    """Find the documents with the largest inner product by exhaustive search, without an index or approximation.

    Args:
        task_id: The task's id, for the order of ties.
        query_ids: The ids of the queries.
        queries: Shape (n_queries, width), any float type. Rows of length 1 make the score a cosine.
        doc_ids: The ids of the documents.
        documents: Shape (n_documents, width), any float type.
        depth: The largest number of documents per query.
        backend: What multiplies; the lists are the same (`mrb.retrieval.search_backends.open_backend`).

    Returns:
        (query id, document ids, scores) of each query in order. Scores are rounded to six decimals.

    Raises:
        CandidatesError: A vector or score is not finite.
    """
    search = ExactSearch(task_id, query_ids, queries, depth, backend)
    rows = _count_block_rows(documents.shape[1], BLOCK_BYTES)
    for first in range(0, len(documents), rows):
        search.search_block(doc_ids[first : first + rows], documents[first : first + rows])
    return search.results()


class ExactSearch:
    """An incremental `search_exact` for documents that arrive in blocks and never fit in memory together.

    The result does not depend on the block boundaries or on the order of the documents. It holds the queries, a block
    of `BLOCK_BYTES` and n_queries x `depth` results in memory; a smaller block if `max_memory` bytes bound all three.

    Raises:
        CandidatesError: A vector is not finite, or `max_memory` leaves no room for a block.
    """

    def __init__(
        self,
        task_id: str,
        query_ids: Sequence[str],
        queries: Vectors,
        depth: int,
        backend: BackendName = "auto",
        max_memory: int | None = None,
    ) -> None:
        self._task_id = task_id
        self._block_bytes = _size_block(task_id, len(query_ids), queries.shape[1], depth, max_memory)
        self.query_ids = query_ids
        self._queries = _to_float(queries)
        self.width = queries.shape[1]
        self._depth = depth
        self._norms = _bound_norms(self._queries, query_ids, f"task {task_id}: queries")
        with np.errstate(over="ignore"):  # such a length is above the limit of FLOAT32_LIMIT
            self._backend = open_backend(backend, self._queries.astype(np.float32, copy=False))
        self._found: list[tuple[list[str], Float32]] = [([], np.empty(0, np.float32))] * len(query_ids)
        self._cuts = np.full(len(query_ids), -np.inf, np.float64)
        self._block: Vectors | None = None
        self._waiting: list[str] = []

    def add(self, doc_ids: Sequence[str], documents: Vectors) -> None:
        """Gather documents of shape (n_documents, width), and search them as soon as they fill a block."""
        if self._block is None:
            self._block = np.empty(
                (_count_block_rows(documents.shape[1], self._block_bytes), documents.shape[1]), documents.dtype
            )
        start = 0
        while start < len(documents):
            room = slice(start, start + len(self._block) - len(self._waiting))
            part = documents[room]
            self._block[len(self._waiting) : len(self._waiting) + len(part)] = part
            self._waiting += doc_ids[room]
            start += len(part)
            if len(self._waiting) == len(self._block):
                self._search_waiting()

    def results(self) -> Iterator[RankedList]:
        """Yield the current lists, in the order of the queries."""
        self._search_waiting()
        for query_id, (doc_ids, scores) in zip(self.query_ids, self._found, strict=True):
            yield query_id, doc_ids, scores

    def _search_waiting(self) -> None:
        if self._block is not None and self._waiting:
            self.search_block(self._waiting, self._block[: len(self._waiting)])
            self._waiting = []

    def search_block(self, doc_ids: Sequence[str], documents: Vectors) -> None:
        """Search documents of shape (n_documents, width) at once."""
        if not len(doc_ids) or not len(self.query_ids):
            return
        documents = _to_float(documents)
        longest = float(_bound_norms(documents, doc_ids, f"task {self._task_id}: documents").max())
        slack = _bound_slack(self._norms, longest, documents.shape[1], self._backend)
        if self._norms.max() * longest < FLOAT32_LIMIT:
            # A score ties with the last of a full list, or exceeds it, only if its product reaches the list's cut.
            cuts = (self._cuts - slack).astype(np.float32)
            found = self._backend.scan(documents.astype(np.float32, copy=False), cuts, slack, self._depth)
        else:
            found = _list_all_pairs(len(self.query_ids), len(documents))

        def merge(share: Sequence[tuple[int, Rows, Float32]]) -> None:
            for row, columns, products in share:
                merge_one(row, columns, products)

        def merge_one(row: int, columns: Rows, products: Float32) -> None:
            names, kept = self._found[row]
            if len(kept) + len(products) > self._depth:
                rivals = np.concatenate([kept, products])
                columns = columns[products >= np.partition(rivals, -self._depth)[-self._depth] - slack[row]]
            scores = np.concatenate([kept, _score(self._queries[row], documents[columns], self._norms[row] * longest)])
            merged = [*names, *map(doc_ids.__getitem__, columns.tolist())]
            ranked = select_top_k(self._task_id, self.query_ids[row], merged, scores, self._depth)
            self._found[row] = ranked
            if len(ranked[1]) == self._depth:
                self._cuts[row] = ranked[1][-1]

        with ThreadPoolExecutor(SEARCH_THREADS) as threads:
            for rows, columns, products in found:
                bounds = np.flatnonzero(np.diff(rows, prepend=-1, append=-1)).tolist()
                hits = [(int(rows[start]), columns[start:end], products[start:end]) for start, end in pairwise(bounds)]
                shares = [hits[number::SEARCH_THREADS] for number in range(SEARCH_THREADS)]
                list(threads.map(merge, shares))  # raises what a thread raised


def describe_vectors(tasks: Sequence[Task], depth: int, keep: bool, max_memory: int | None = None) -> str:
    """Return what an encoder's vectors of these tasks take on disk and in memory, in one sentence for `--dry-run`.

    Args:
        tasks: Their sizes are the registry's.
        depth: Documents per query. An entry of a list is counted as 12 bytes.
        keep: Whether the vectors of all tasks stay on disk; else those of one task at a time.
        max_memory: The limit of a search, in bytes.

    Raises:
        CandidatesError: The limit is too small for a task.
    """
    disk = [4 * STATED_WIDTH * (task.size.queries + task.size.documents) for task in tasks]
    blocks = [_size_block(task.id, task.size.queries, STATED_WIDTH, depth, max_memory) for task in tasks]
    memory = max(
        _count_held_bytes(task.size.queries, STATED_WIDTH, depth) + min(block, 4 * STATED_WIDTH * task.size.documents)
        for task, block in zip(tasks, blocks, strict=True)
    )
    stored = f"{format_size(sum(disk) / 1e9)} of disk" if keep else f"at most {format_size(max(disk) / 1e9)} of disk"
    return (
        f"an encoder's vectors, at a width of {STATED_WIDTH:,}: {stored}; their search: "
        f"at most {format_size(memory / 1e9)} of memory beside the data and the model"
    )


def _count_held_bytes(queries: int, width: int, depth: int) -> int:
    """Return what a search holds beside its block of documents: the queries, its lists, and products with a tile."""
    return (4 * width + 12 * depth) * queries + SCAN_BYTES


def _size_block(task_id: str, queries: int, width: int, depth: int, max_memory: int | None) -> int:
    """Return the size of a block of documents in bytes, within `max_memory` bytes of the whole search."""
    if max_memory is None:
        return BLOCK_BYTES
    held = _count_held_bytes(queries, width, depth)
    if max_memory < held + MIN_BLOCK_BYTES:
        raise CandidatesError(
            f"task {task_id}: {queries:,} queries at a width of {width:,} and a depth of {depth:,} need "
            f"{format_size((held + MIN_BLOCK_BYTES) / 1e9)} of memory to be searched, and --max-memory allows "
            f"{format_size(max_memory / 1e9)}; give more, or a smaller --depth"
        )
    return min(BLOCK_BYTES, max_memory - held)


def _count_block_rows(width: int, block_bytes: int) -> int:
    return max(1, block_bytes // (4 * max(1, width)))


def _to_float(vectors: Vectors) -> Vectors:
    """Return float64 as it is, and anything else as float32."""
    return vectors if vectors.dtype == np.float64 else vectors.astype(np.float32, copy=False)


def _bound_norms(vectors: Vectors, ids: Sequence[str], place: str) -> Float64:
    """Return upper bounds of the lengths of the rows. Raises CandidatesError, with `place` and the id, for NaN."""
    width = vectors.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors).astype(np.float64)
        if not np.isfinite(squares).all():  # of float32, the square of a length above 1.8e19 is not finite either
            squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    if not np.isfinite(squares).all():
        wrong = ids[int(np.flatnonzero(~np.isfinite(squares))[0])]
        raise CandidatesError(f"{place}: the vector of {wrong!r} is not finite")
    # The second term is for squares that underflow.
    bounds: Float64 = np.sqrt(squares) * (1 + 2 * width * FLOAT32_UNIT) + math.sqrt(width * FLOAT32_TINY)
    return bounds


def _bound_slack(norms: Float64, longest: float, width: int, backend: Backend) -> Float32:
    """Return by how much the product of a better document can be below that of a worse one, for each query.

    It is twice the error of a product, plus what the rounding of scores can hide. The terms of the error are roundings
    of the sum (and of float64 vectors to float32: n = width + 2), of factors, and underflow, also where subnormal
    numbers count as 0.
    """
    gamma = (width + 2) * backend.sum_unit / (1 - (width + 2) * backend.sum_unit)
    relative = (1 + backend.factor_unit) ** 2 * (1 + gamma) - 1
    absolute = FLOAT32_TINY * (math.sqrt(width) * (norms + longest) + 2 * width)
    rounding = 1.1 * 10**-DECIMALS + 8 * FLOAT32_UNIT * norms * longest
    slack: Float32 = (2 * (relative * norms * longest + absolute) + rounding).astype(np.float32)
    return slack


def _score(query: Vectors, documents: Vectors, limit: float) -> Float32:
    """Return the scores of documents: the exact sum of the products, rounded to float64, to six decimals, to float32.

    A product of two float32 numbers is exact in float64, so the sum is the only thing to round. `limit` is at least the
    product of the lengths. Where the error of a plain sum could change the rounded score, the sum is computed exactly;
    of vectors of length 1 this is about one pair in a million.
    """
    query = query.astype(np.float64)
    sums = np.einsum("ij,j->i", documents, query)
    gamma = (len(query) + 2) * FLOAT64_UNIT / (1 - (len(query) + 2) * FLOAT64_UNIT)
    scores, high = _round_score(sums - 2 * gamma * limit), _round_score(sums + 2 * gamma * limit)
    for row in np.flatnonzero(scores != high).tolist():
        exact = math.fsum((documents[row].astype(np.float64) * query).tolist())
        scores[row] = _round_score(np.array([exact]))[0]
    return scores


def _round_score(values: Float64) -> Float32:
    with np.errstate(over="ignore"):  # `select_top_k` refuses an infinity by the query's id
        rounded: Float32 = np.round(values, DECIMALS).astype(np.float32)
    return rounded


def _list_all_pairs(queries: int, documents: int) -> Iterator[Hits]:
    """Yield every pair, query by query: what is found where a product could overflow in float32."""
    columns = np.arange(documents)
    for row in range(queries):
        yield np.full(documents, row), columns, np.full(documents, np.inf, np.float32)
