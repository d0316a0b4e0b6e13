"""BM25 over a corpus that does not fit into memory: postings on disk, processed shard by shard.

A shard holds counts only (how often each word occurs in each document), so k1 and b are free at search time and no
shard is rewritten when the corpus statistics are known. Scores use the arithmetic of `bm25s`, step by step in the same
precision and order: the lists of the two engines are equal bit for bit.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mrb._util.files import read_json, write_array, write_bytes, write_json
from mrb._util.progress import start_progress
from mrb.baselines.retrievers.lexical import tokenize
from mrb.errors import CandidatesError, MRBError

FORMAT = 1
"""Incremented when the analyser or the files change: an index of another format is not used."""
SHARD_DOCUMENTS = 200_000
SHARD_TOKENS = 16_000_000
"""A shard is full at either limit; building one takes about 60 bytes per token."""
NO_TEXT = (
    "BM25 needs text; neither documents nor side table hold any; take a first stage that reads images, as "
    "`mrb tracks` lists them for each type"
)
_ARRAYS = ("starts", "rows", "counts", "lengths")

Float32 = npt.NDArray[np.float32]
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

        Contains the `depth` best of every shard and all that tie with the last of them, unordered: `select_top_k`
        orders and cuts them. Only documents that share a word with the query are found.
        """
        wanted = {word for query in queries for word in query}
        for shard in self._shards:
            shard.open(wanted)
        mean = np.float64(self.tokens) / self.documents
        idf = {word: self._compute_idf(sum(shard.frequency(word) for shard in self._shards)) for word in wanted}
        for query in queries:
            found = [shard.best(query, idf, mean, depth, k1, b) for shard in self._shards]
            rows = [hits + shard.first for shard, (hits, _) in zip(self._shards, found, strict=True)]
            yield np.concatenate(rows), np.concatenate([scores for _, scores in found])

    def _compute_idf(self, frequency: int) -> np.float32:
        return np.float32(math.log(1 + (self.documents - frequency + 0.5) / (frequency + 0.5)))


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

    def best(
        self, query: Sequence[str], idf: dict[str, np.float32], mean: np.float64, depth: int, k1: float, b: float
    ) -> tuple[Int64, Float32]:
        """Return (rows within the shard, scores) of the `depth` best and of all that tie with the last of them."""
        scores = np.zeros(self.documents, np.float32)
        for word in query:
            found = self._ranges.get(word)
            if found is None:
                continue
            rows = self._rows[found.start : found.end]
            counts = self._counts[found.start : found.end].astype(np.float64)
            weights = counts / (k1 * ((1 - b) + b * self._lengths[rows] / mean) + counts)
            # bm25s multiplies in float64, rounds to float32, and sums word by word in float32.
            scores[rows] += (np.float64(idf[word]) * weights).astype(np.float32)
        hits = np.flatnonzero(scores > 0)
        values = scores[hits]
        if len(hits) > depth:
            kept = values >= np.partition(values, len(values) - depth)[len(values) - depth]
            hits, values = hits[kept], values[kept]
        return hits, values


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
