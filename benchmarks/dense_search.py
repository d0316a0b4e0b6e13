"""Exact search of dense vectors: MRB's backends beside bare faiss and beside the search before them, in one run.

    python benchmarks/dense_search.py --documents 200000
    python benchmarks/dense_search.py --documents 200000 --memory 50000 100000 200000

Vectors are random and of length 1; one document in a hundred is an exact copy of another, and one differs from another
in the last bit. The ways take turns, round by round; a rate is that of the best round, of the clock and of the
processor's time, which others on the machine change less. `before` is MRB's search until 0.2.0, on a tenth of the
documents. All backends must give the same lists; some queries are also compared with every pair summed exactly.
`--memory` streams documents through the search and prints the peak memory of a process for each number.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from mrb._util.hashing import compute_tie_hashes
from mrb.candidates.top_k import select_top_k
from mrb.retrieval.exact_search import ExactSearch, search_exact
from mrb.retrieval.search_backends import BackendName

TASK = "benchmark"
SHARD = 4096
Float32 = npt.NDArray[np.float32]
Lists = list[tuple[str, list[str], list[float]]]


def make_vectors(count: int, width: int, seed: int) -> Float32:
    """Random vectors of length 1, some of which are equal or nearly equal."""
    draw = np.random.default_rng(seed)
    rows = draw.standard_normal((count, width), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    some = count // 100
    rows[some : 2 * some] = rows[:some]
    rows[2 * some : 3 * some] = np.nextafter(rows[:some], np.float32(2))
    return rows


def make_documents(count: int, width: int) -> Iterator[Float32]:
    """Yield shards, as an encoder writes them."""
    for first in range(0, count, SHARD):
        yield make_vectors(min(SHARD, count - first), width, 1 + first)


def search(backend: BackendName, queries: Float32, documents: Float32, depth: int) -> Lists:
    """MRB's search by a backend."""
    asked, names = ([f"{kind}{n}" for n in range(len(rows))] for kind, rows in (("q", queries), ("d", documents)))
    found = search_exact(TASK, asked, queries, names, documents, depth, backend)
    return [(query, ids, scores.tolist()) for query, ids, scores in found]


def stream(queries: Float32, shards: Iterator[Float32], depth: int) -> None:
    """MRB's search over shards that are never in memory together."""
    found = ExactSearch(TASK, [f"q{n}" for n in range(len(queries))], queries, depth, "numpy")
    first = 0
    for shard in shards:
        found.add([f"d{n}" for n in range(first, first + len(shard))], shard)
        first += len(shard)
    assert sum(1 for _ in found.results()) == len(queries)


def search_before(queries: Float32, documents: Float32, depth: int) -> Lists:
    """The search until 0.2.0: blocks of 64 queries and a shard in float64, every score rounded."""
    found: list[tuple[list[str], Float32]] = [([], np.empty(0, np.float32))] * len(queries)
    for first in range(0, len(documents), SHARD):
        part = documents[first : first + SHARD].astype(np.float64)
        for start in range(0, len(queries), 64):
            block = np.round(queries[start : start + 64].astype(np.float64) @ part.T, 6).astype(np.float32)
            for row, scores in enumerate(block, start=start):
                names, kept = found[row]
                hits = np.flatnonzero(scores >= kept[-1]) if len(kept) == depth else np.arange(len(scores))
                if len(hits):
                    merged = [*names, *(f"d{first + hit}" for hit in hits.tolist())]
                    values = np.concatenate([kept, scores[hits]])
                    found[row] = select_top_k(TASK, f"q{row}", merged, values, depth)
    return [(f"q{row}", ids, scores.tolist()) for row, (ids, scores) in enumerate(found)]


def search_by_force(queries: Float32, row: int, documents: Float32, depth: int) -> tuple[str, list[str], list[float]]:
    """One query against every document: exact sums in float64, six decimals, float32, the fixed order of ties."""
    query = queries[row].astype(np.float64)
    sums = [math.fsum((document * query).tolist()) for document in documents]
    scores = np.round(sums, 6).astype(np.float32)
    hashes = compute_tie_hashes(TASK, f"q{row}", (f"d{n}" for n in range(len(documents))))
    order = sorted(range(len(documents)), key=lambda n: (-scores[n], hashes[n]))[:depth]
    return f"q{row}", [f"d{n}" for n in order], scores[order].tolist()


def measure_memory(options: argparse.Namespace) -> None:
    """Print the peak memory of a process that streams documents through the search."""
    for count in options.memory:
        sizes = ["--queries", str(options.queries), "--width", str(options.width), "--depth", str(options.depth)]
        command = [sys.executable, __file__, *sizes, "--documents", str(count), "--stream"]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("queries", 1024), ("documents", 200_000), ("width", 1536), ("depth", 100), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--checked", type=int, default=2, help="queries compared with every pair summed exactly")
    parser.add_argument("--memory", type=int, nargs="*", default=[], metavar="DOCUMENTS")
    parser.add_argument("--stream", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    queries = make_vectors(options.queries, options.width, 0)
    if options.stream:
        stream(queries, make_documents(options.documents, options.width), options.depth)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{options.documents:>9,} documents streamed: peak memory {peak:.2f} GiB", flush=True)
        return

    # First, for a new process counts the memory of the one that starts it as its own peak.
    measure_memory(options)
    documents = np.concatenate(list(make_documents(options.documents, options.width)))
    few = documents[: len(documents) // 10]
    ways: dict[str, tuple[int, Callable[[], object]]] = {}
    lists: dict[str, Lists] = {}

    def add(backend: BackendName) -> None:
        def run() -> None:
            lists[backend] = search(backend, queries, documents, options.depth)

        ways[f"MRB, {backend}"] = len(documents), run

    if importlib.util.find_spec("faiss"):
        import faiss

        index = faiss.IndexFlatIP(options.width)
        index.add(documents)
        ways["faiss alone"] = len(documents), lambda: index.search(queries, options.depth)
        add("faiss")
    add("numpy")
    if importlib.util.find_spec("torch"):
        add("torch")
    ways["before"] = len(few), lambda: search_before(queries, few, options.depth)

    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(options.rounds):
        for name, (_, run) in ways.items():
            clock, processor = time.perf_counter(), time.process_time()
            run()
            spent[name].append((time.perf_counter() - clock, time.process_time() - processor))
        print(f"round {number + 1} of {options.rounds} done", flush=True)

    rates = {
        name: [count * len(queries) / min(times) / 1e6 for times in zip(*spent[name], strict=True)]
        for name, (count, _) in ways.items()
    }
    print(f"\n{len(queries):,} queries, {len(documents):,} documents, width {options.width}, depth {options.depth}")
    print(f"{'million pairs a second':<24}{'by clock':>10}{'by processor':>14}{'/ faiss':>16}{'/ before':>16}")
    for name, (clock, processor) in rates.items():
        cells = []
        for rival in ("faiss alone", "before"):
            pair = rates.get(rival)
            cells.append("-" if pair is None else f"{clock / pair[0]:.2f} {processor / pair[1]:.2f}")
        print(f"{name:<24}{clock:>10.1f}{processor:>14.1f}{cells[0]:>16}{cells[1]:>16}")

    first, *others = lists.items()
    for backend, found in others:
        print(f"lists of {backend} and {first[0]}: {sum(a != b for a, b in zip(found, first[1], strict=True))} differ")
    old = search_before(queries, few, options.depth)
    new = search("numpy", queries, few, options.depth)
    print(f"lists of before and numpy, a tenth: {sum(a != b for a, b in zip(old, new, strict=True))} differ")
    for row in range(options.checked):
        wanted = search_by_force(queries, row, documents, options.depth)
        tied = options.depth - len(set(wanted[2]))
        print(f"query {row}: equal to exact sums: {first[1][row] == wanted}, {tied} of {options.depth} tie", flush=True)


if __name__ == "__main__":
    main()
