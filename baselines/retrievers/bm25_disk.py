"""BM25 over a corpus that does not fit into memory: postings on disk, processed shard by shard.

A shard holds counts only (how often each word occurs in each document), so k1 and b are free at search time and no
shard is rewritten when the corpus statistics are known. Scores use the arithmetic of `bm25s`, step by step in the same
precision and order: the lists of the two engines are equal bit for bit.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mrb._util.cores import count_cores
from mrb._util.files import read_json, write_array, write_bytes, write_json
from mrb._util.progress import start_progress
from mrb.baselines.retrievers.lexical import tokenize
from mrb.errors import CandidatesError, MRBError

FORMAT = 1
"""Incremented when the analyser or the files change: an index of another format is not used."""
SHARD_DOCUMENTS = 200_000
SHARD_TOKENS = 16_000_000
"""A shard is full at either limit; building one takes about 60 bytes per token."""
FREQUENT = 8
"""A word in more than one of so many documents of a shard is added to all of them at once."""
MAX_THREADS = 8
"""The most shards that are searched at a time: each holds the contributions of all the queries' words."""
SMALLEST = np.float32(np.finfo(np.float32).smallest_subnormal)
NO_TEXT = (
    "BM25 needs text; neither documents nor side table hold any; take a first stage that reads images, as "
    "`mrb candidates sets` lists them for each type"
)
_ARRAYS = ("starts", "rows", "counts", "lengths")

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


class DiskIndex:
    """An index in `folder`. An interrupted build resumes after the last finished shard.

    `texts` yields the documents in a fixed order and is read once; `documents` is their number. The index is complete
    when `manifest.json` exists. Two processes in one folder write the same bytes under the same names, each file
    atomically, so they need no lock. Raises MRBError if the folder holds an index of other documents.
    """

    def __init__(self, folder: Path, texts: Iterable[str], documents: int) -> None:
        self.folder = folder
        self.documents = documents
        manifest = folder / "manifest.json"
        if not manifest.exists():
            _build_index(folder, iter(texts), documents)
        stated = read_json(manifest)
        if (stated["schema_version"], stated["documents"]) != (FORMAT, documents):
            raise MRBError(f"{folder}: the index holds {stated['documents']} documents, wanted {documents}; remove it")
        self.tokens = int(stated["tokens"])
        self._shards = [_Shard(folder / name) for name in stated["shards"]]

    def search(
        self, queries: Sequence[Sequence[str]], depth: int, *, k1: float, b: float
    ) -> Iterator[tuple[Int64, Float32]]:
        """Yield (document rows, scores) for each query, in order; a query is its analysed words.

        Contains the `depth` best and all that tie with the last of them, perhaps more, unordered: `select_top_k` orders
        and cuts them. Only documents that share a word with the query are found. One thread for each core, up to
        MAX_THREADS, searches a shard at a time; the result does not depend on their number.
        """
        wanted = {word for query in queries for word in query}
        for shard in self._shards:
            shard.open(wanted)
        weights = Weights(
            {word: self._compute_idf(sum(shard.frequency(word) for shard in self._shards)) for word in wanted},
            np.float64(self.tokens) / self.documents,
            k1,
            b,
        )
        least = np.full(len(queries), SMALLEST)
        parts: list[list[tuple[Int64, Float32]]] = []
        with (
            start_progress("searching", "shards", len(self._shards)) as bar,
            ThreadPoolExecutor(min(MAX_THREADS, count_cores())) as threads,
        ):
            for found in threads.map(lambda shard: shard.search(queries, weights, depth, least), self._shards):
                parts.append(found)
                bar.advance()
        for bound, of_query in zip(least, zip(*parts, strict=True), strict=True):
            kept = [scores >= bound for _, scores in of_query]
            yield (
                np.concatenate([rows[good] for (rows, _), good in zip(of_query, kept, strict=True)]),
                np.concatenate([scores[good] for (_, scores), good in zip(of_query, kept, strict=True)]),
            )

    def _compute_idf(self, frequency: int) -> np.float32:
        return np.float32(math.log(1 + (self.documents - frequency + 0.5) / (frequency + 0.5)))


@dataclass(frozen=True)
class Weights:
    """What a search needs of the whole corpus: each word's idf and the mean length in words; and its parameters."""

    idf: Mapping[str, np.float32]
    mean: np.float64
    k1: float
    b: float

    def compute_norms(self, lengths: npt.NDArray[np.int32]) -> Float64:
        """Return what is added to a word's count in the denominator, for documents of these lengths."""
        norms: Float64 = self.k1 * ((1 - self.b) + self.b * lengths / self.mean)
        return norms


@dataclass(frozen=True)
class _Range:
    start: int
    end: int


class _Shard:
    """Postings of consecutive documents: for each word the rows and counts of its documents, by row."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        stated = read_json(folder / "shard.json")
        self.first = int(stated["first"])
        self.documents = int(stated["documents"])
        self._ranges: dict[str, _Range] = {}

    def open(self, wanted: set[str]) -> None:
        """Memory-map the arrays, and keep the posting ranges of the `wanted` words only."""
        _, self._rows, self._counts, self._lengths = (
            np.load(self._folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS
        )
        starts = np.load(self._folder / "starts.npy", mmap_mode="r")
        vocabulary: list[str] = json.loads((self._folder / "words.json").read_bytes())
        self._ranges = {
            word: _Range(int(starts[row]), int(starts[row + 1]))
            for row, word in enumerate(vocabulary)
            if word in wanted
        }

    def frequency(self, word: str) -> int:
        """Return how many of the shard's documents contain the word."""
        found = self._ranges.get(word)
        return 0 if found is None else found.end - found.start

    def search(
        self, queries: Sequence[Sequence[str]], weights: Weights, depth: int, least: Float32
    ) -> list[tuple[Int64, Float32]]:
        """Return (rows, scores) of each query's `depth` best documents and of all that tie with the last of them, among
        those that score at least its value in `least`.

        `least` is raised to the last score of a full list, so that the shards that follow keep less. Several threads
        may write it: whichever value stays is the last score of some full list, so nothing better is lost.
        """
        norms = weights.compute_norms(np.asarray(self._lengths))
        added: dict[str, tuple[Int64 | None, Float32]] = {}
        scores = np.empty(self.documents, np.float32)
        found = []
        for place, query in enumerate(queries):
            scores.fill(0)
            for word in query:
                if word not in self._ranges:
                    continue
                if word not in added:
                    added[word] = self._weigh(word, norms, weights.idf[word])
                rows, values = added[word]
                if rows is None:
                    scores += values
                else:
                    scores[rows] += values
            hits = np.flatnonzero(scores >= least[place])
            best = scores[hits]
            if len(hits) > depth:
                last = np.partition(best, len(best) - depth)[len(best) - depth]
                hits, best = hits[best >= last], best[best >= last]
                least[place] = max(least[place], last)
            found.append((hits + self.first, best))
        return found

    def _weigh(self, word: str, norms: Float64, idf: np.float32) -> tuple[Int64 | None, Float32]:
        """Return (rows, what the word adds to their scores). For a frequent word it is what it adds to every document's
        score and rows are None: adding 0 changes no bit and is faster than indexing."""
        found = self._ranges[word]
        rows = self._rows[found.start : found.end].astype(np.int64)
        counts = self._counts[found.start : found.end].astype(np.float64)
        # bm25s multiplies in float64, rounds to float32, and sums word by word in float32.
        values = (np.float64(idf) * (counts / (norms[rows] + counts))).astype(np.float32)
        if len(rows) * FREQUENT < self.documents:
            return rows, values
        dense = np.zeros(self.documents, np.float32)
        dense[rows] = values
        return None, dense


def _build_index(folder: Path, texts: Iterator[str], documents: int) -> None:
    names: list[str] = []
    done = tokens = 0
    with start_progress("indexing", "documents", documents) as bar:
        while done < documents:
            name = f"shard-{len(names):05d}"
            stated = folder / name / "shard.json"
            if stated.exists():
                part = read_json(stated)
                size = int(part["documents"])
                next(islice(texts, size - 1, None), None)  # already in the shard
            else:
                size = _build_shard(folder / name, texts, done)
                if not size:
                    raise CandidatesError(f"{folder}: the corpus ended after {done} documents, {documents} were stated")
                part = read_json(stated)
            names.append(name)
            done, tokens = done + size, tokens + int(part["tokens"])
            bar.advance(size)
    if not tokens:
        raise CandidatesError(f"{folder}: {NO_TEXT}")
    write_json(
        folder / "manifest.json", {"schema_version": FORMAT, "documents": documents, "tokens": tokens, "shards": names}
    )


def _build_shard(folder: Path, texts: Iterator[str], first: int) -> int:
    """Write the next shard, with `shard.json` last. Return its number of documents, 0 at the end of the corpus."""
    vocabulary: dict[str, int] = {}
    flat = array("i")
    lengths = array("i")
    while len(lengths) < SHARD_DOCUMENTS and len(flat) < SHARD_TOKENS and (text := next(texts, None)) is not None:
        found = tokenize(text)
        flat.extend([vocabulary.setdefault(word, len(vocabulary)) for word in found])
        lengths.append(len(found))
    if not lengths:
        return 0
    arrays: Sequence[npt.NDArray[Any]] = _count_postings(
        np.frombuffer(flat, np.int32), np.frombuffer(lengths, np.int32), len(vocabulary)
    )
    for name, values in zip(_ARRAYS, arrays, strict=True):
        write_array(folder / f"{name}.npy", np.asarray(values))
    write_bytes(folder / "words.json", json.dumps(list(vocabulary), ensure_ascii=False).encode())
    write_json(folder / "shard.json", {"first": first, "documents": len(lengths), "tokens": len(flat)})
    return len(lengths)


def _count_postings(
    flat: npt.NDArray[np.int32], lengths: npt.NDArray[np.int32], n_words: int
) -> tuple[Int64, npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return (starts (n_words + 1), rows, counts, lengths).

    Word w occurs `counts[i]` times in document `rows[i]` for i in `starts[w]` to `starts[w + 1]`.
    """
    keys = flat.astype(np.int64) * len(lengths) + np.repeat(np.arange(len(lengths)), lengths)
    keys.sort()
    borders = np.flatnonzero(np.diff(keys, prepend=-1))
    counts = np.diff(borders, append=len(keys)).astype(np.int32)
    word, row = np.divmod(keys[borders], len(lengths))
    starts = np.searchsorted(word, np.arange(n_words + 1))
    return starts, row.astype(np.int32), counts, lengths
