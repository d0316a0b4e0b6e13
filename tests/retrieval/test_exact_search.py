"""Exact search: every backend, block and tile gives what exact sums over all pairs give."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from mrb._util.hashing import compute_tie_hashes
from mrb.errors import CandidatesError, MRBError
from mrb.retrieval import exact_search, search_backends, search_exact
from mrb.retrieval.exact_search import ExactSearch
from mrb.retrieval.search_backends import BackendName

Vectors = npt.NDArray[np.floating]
Lists = list[tuple[str, list[str], list[float]]]
BACKENDS = ["numpy", pytest.param("torch", marks=pytest.mark.torch), "faiss"]


def search_by_force(queries: Vectors, documents: Vectors, depth: int) -> Lists:
    """Exact sums in float64 of all pairs, six decimals, float32, and the tie hash for every document."""
    found = []
    for row, query in enumerate(queries.astype(np.float64)):
        sums = [math.fsum((document.astype(np.float64) * query).tolist()) for document in documents]
        scores = np.round(sums, 6).astype(np.float32)
        hashes = compute_tie_hashes("t", f"q{row}", (f"d{n}" for n in range(len(documents))))
        order = sorted(range(len(documents)), key=lambda n, s=scores, h=hashes: (-s[n], h[n]))[:depth]  # type: ignore[misc]
        found.append((f"q{row}", [f"d{n}" for n in order], scores[order].tolist()))
    return found


def draw(seed: int, *shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def replaced(rows: npt.NDArray[np.float32], part: slice, value: Vectors | float) -> npt.NDArray[np.float32]:
    rows[part] = value
    return rows


CASES: dict[str, tuple[Callable[[], tuple[Vectors, Vectors]], int]] = {
    "plain": (lambda: (unit(draw(1, 12, 48)), unit(draw(2, 500, 48))), 10),
    "float64": (lambda: (draw(1, 12, 48) / np.float64(3), draw(2, 400, 48) / np.float64(7)), 10),
    "equal vectors": (lambda: (unit(draw(1, 8, 16)), replaced(unit(draw(2, 500, 16)), slice(50, 350), 0.25)), 20),
    "whole numbers": (lambda: (np.round(draw(1, 9, 4)), np.round(draw(2, 400, 4))), 9),
    "near the cut": (lambda: (unit(draw(1, 8, 16)), 0.25 + 3e-7 * draw(2, 500, 16)), 10),
    "rounding borders": (lambda: (np.full((2, 2), 0.5), np.round(3 * np.abs(draw(2, 300, 2))) * 1e-6), 7),
    "zeros": (lambda: (replaced(draw(1, 5, 8), slice(2), 0), replaced(draw(2, 300, 8), slice(100), 0)), 20),
    "deeper than the corpus": (lambda: (draw(1, 4, 8), draw(2, 30, 8)), 100),
    "one number": (lambda: (draw(1, 4, 1), draw(2, 300, 1)), 7),
    "one long vector": (lambda: (draw(1, 4, 8), replaced(draw(2, 300, 8), slice(7, 8), 1e6)), 7),
    "long": (lambda: (draw(1, 4, 8) * np.float32(1e15), draw(2, 300, 8) * np.float32(1e15)), 7),
    "products beyond float32 cancel": (lambda: (np.array([[1e25, 1.0]]), np.array([[1e-25, 1], [1e-6, 2], [0, 3]])), 2),
    "too long for float32": (lambda: (draw(1, 4, 8) * np.float32(1e18), draw(2, 300, 8) * np.float32(4e18)), 7),
    "short and long": (lambda: (draw(1, 4, 8) * np.float32(1e-30), draw(2, 300, 8) * np.float32(1e30)), 7),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_lists_are_those_of_exact_sums(case: str, backend: BackendName, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend != "numpy":
        pytest.importorskip(backend)
    make, depth = CASES[case]
    queries, documents = make()
    wanted = search_by_force(queries, documents, depth)
    asked, names = [f"q{n}" for n in range(len(queries))], [f"d{n}" for n in range(len(documents))]
    for block_rows, tile, pending in ((10**6, 4096, 10**6), (37, 4096, 10**6), (200, 61, 50)):
        monkeypatch.setattr(exact_search, "BLOCK_BYTES", 4 * block_rows * queries.shape[1])
        monkeypatch.setattr(search_backends, "MAX_PENDING", pending)
        monkeypatch.setattr(search_backends._Tiles, "_document_tile", tile)
        monkeypatch.setattr(search_backends._Tiles, "_query_tile", 3 if tile < 4096 else 1024)
        whole = search_exact("t", asked, queries, names, documents, depth, backend)
        assert [(query, ids, scores.tolist()) for query, ids, scores in whole] == wanted
        gathered = ExactSearch("t", asked, queries, depth, backend)
        for first in range(0, len(names), 23):
            gathered.add(names[first : first + 23], documents[first : first + 23])
        assert [(query, ids, scores.tolist()) for query, ids, scores in gathered.results()] == wanted


@pytest.mark.torch
@pytest.mark.parametrize("precision", ["high", "medium"])
def test_products_of_reduced_precision_change_no_list(precision: str) -> None:
    """On a CPU with bfloat16, torch's products are then off by a hundredth."""
    import torch

    queries, documents = unit(draw(1, 16, 300)), unit(draw(2, 2000, 300))
    asked, names = [f"q{n}" for n in range(16)], [f"d{n}" for n in range(2000)]
    wanted = search_by_force(queries[:2], documents, 10)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        found = list(search_exact("t", asked, queries, names, documents, 10, "torch"))[:2]
    finally:
        torch.set_float32_matmul_precision(before)
    assert [(query, ids, scores.tolist()) for query, ids, scores in found] == wanted


def test_a_limit_of_memory_makes_blocks_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_search, "MIN_BLOCK_BYTES", 4 * 48 * 20)
    queries, documents = unit(draw(1, 12, 48)), unit(draw(2, 500, 48))
    asked, names = [f"q{n}" for n in range(12)], [f"d{n}" for n in range(500)]
    held = exact_search._count_held_bytes(12, 48, 10)
    found = ExactSearch("t", asked, queries, 10, max_memory=held + 4 * 48 * 50)
    blocks = []
    monkeypatch.setattr(found, "search_block", lambda ids, rows: blocks.append(len(ids)))
    found.add(names, documents)
    assert blocks == [50] * 10
    with pytest.raises(CandidatesError, match=r"task t: 12 queries at a width of 48 .* --max-memory allows 134 MB"):
        ExactSearch("t", asked, queries, 10, max_memory=held)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_is_named(value: float) -> None:
    good, bad = draw(1, 3, 4), replaced(draw(1, 3, 4), slice(1, 2), value)
    ids = ["a", "b", "c"]
    with pytest.raises(CandidatesError, match="task t: documents: the vector of 'b' is not finite"):
        search_exact("t", ids, good, ids, bad, 2)
    with pytest.raises(CandidatesError, match="task t: queries: the vector of 'b' is not finite"):
        search_exact("t", ids, bad, ids, good, 2)


def test_a_missing_backend_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MRBError, match=r"--search faiss .*pip install 'mrb\[faiss\]'"):
        search_exact("t", ["q"], draw(1, 1, 4), ["d"], draw(2, 1, 4), 1, "faiss")
