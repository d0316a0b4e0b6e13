"""BM25 as a first stage over a whole corpus, and as a reranker of one request's candidates.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009; the variant is Lucene's
(Kamphuis et al., "Which BM25 Do You Mean?", ECIR 2020), computed by the `bm25s` package (MIT licence).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from mrb._util.hashing import hash_json
from mrb.baselines.retrievers.bm25_disk import FORMAT, NO_TEXT, DiskIndex
from mrb.baselines.retrievers.lexical import K1, B, score_bm25, tokenize
from mrb.data.task_data import TaskData
from mrb.errors import AdapterError, CandidatesError
from mrb.rerankers.model_card import make_plain_card
from mrb.rerankers.reranker import Request
from mrb.retrieval import RankedList, select_top_k
from mrb.retrieval.cache_paths import compute_table_key, find_first_stage_cache

MEMORY_DOCUMENTS = 500_000
"""The largest corpus that `engine="auto"` indexes in memory."""

Float32 = npt.NDArray[np.float32]


class Index:
    """An in-memory inverted index over the text of a task's documents (about 2.4 GB per million passages).

    A document without text takes the text of the task's side table (a page's cheap OCR).
    """

    def __init__(self, data: TaskData, k1: float = K1, b: float = B) -> None:
        import bm25s

        self.doc_ids = list(data.corpus)
        vocabulary: dict[str, int] = {}
        ids = [
            [vocabulary.setdefault(word, len(vocabulary)) for word in tokenize(_read_text(data, doc_id))]
            for doc_id in self.doc_ids
        ]
        if not vocabulary:
            raise CandidatesError(f"task {data.task.id}: {NO_TEXT}")
        self._vocabulary = vocabulary
        self._bm25 = bm25s.BM25(k1=k1, b=b, method="lucene")
        self._bm25.index((ids, vocabulary), create_empty_token=False, show_progress=False)

    def scores(self, text: str) -> Float32:
        """Return every document's score, float32, in the order of `doc_ids`; 0 if no word is shared."""
        ids = [self._vocabulary[word] for word in tokenize(text) if word in self._vocabulary]
        if not ids:
            return np.zeros(len(self.doc_ids), np.float32)
        return np.asarray(self._bm25.get_scores_from_ids(ids), np.float32)


class BM25Retriever:
    """BM25 (k1 = 1.2, b = 0.75, English stop words and stemmer) of the query's text against the documents' text.

    Only documents that share a word with the query are found, so a list may be shorter than asked for. `engine` is
    `memory` (bm25s), `disk` (shards of postings in `folder`, by default in MRB's cache) or `auto`: disk above
    MEMORY_DOCUMENTS. Both give the same lists, so the engine is not part of a list's identity.
    """

    card = make_plain_card("text")
    max_images = None
    version = "1"

    def __init__(
        self,
        k1: float = K1,
        b: float = B,
        engine: Literal["auto", "memory", "disk"] = "auto",
        folder: Path | None = None,
    ) -> None:
        if engine not in ("auto", "memory", "disk"):
            raise AdapterError(f"bm25: engine={engine}: there are auto, memory and disk")
        self.k1 = k1
        self.b = b
        self.engine = engine
        self.folder = folder

    def covers(self, data: TaskData) -> bool:
        """Return whether queries and documents (or the side table) have texts."""
        documents = data.corpus.has_texts or (data.side is not None and data.side.has_texts)
        return documents and data.queries.has_texts

    def search(self, data: TaskData, depth: int) -> Iterator[RankedList]:
        """Yield the best documents of each query. Raises CandidatesError if no document has any text."""
        on_disk = len(data.corpus) > MEMORY_DOCUMENTS if self.engine == "auto" else self.engine == "disk"
        return self._search_disk(data, depth) if on_disk else self._search_memory(data, depth)

    def _search_memory(self, data: TaskData, depth: int) -> Iterator[RankedList]:
        index = Index(data, self.k1, self.b)
        doc_ids = np.asarray(index.doc_ids, dtype=object)
        for query_id in data.queries:
            scores = index.scores(data.queries.item(query_id).text)
            hits = np.flatnonzero(scores > 0)
            yield (query_id, *select_top_k(data.task.id, query_id, doc_ids[hits].tolist(), scores[hits], depth))

    def _search_disk(self, data: TaskData, depth: int) -> Iterator[RankedList]:
        doc_ids = list(data.corpus)
        index = DiskIndex(self._index_folder(data), (_read_text(data, doc_id) for doc_id in doc_ids), len(doc_ids))
        query_ids = list(data.queries)
        queries = [tokenize(data.queries.item(query_id).text) for query_id in query_ids]
        found = index.search(queries, depth, k1=self.k1, b=self.b)
        for query_id, (rows, scores) in zip(query_ids, found, strict=True):
            yield (query_id, *select_top_k(data.task.id, query_id, [doc_ids[row] for row in rows], scores, depth))

    def _index_folder(self, data: TaskData) -> Path:
        """Return the index folder, named by a hash of documents and format: only the same text reuses an index."""
        tables = [compute_table_key(data, table) for table in (data.corpus, data.side) if table is not None]
        return (self.folder or find_first_stage_cache()) / f"bm25-{hash_json([FORMAT, tables])[:32]}"


class BM25Reranker:
    """BM25 of the query's text against the candidates' text, with statistics of the request's candidates only.

    Covers: text and image+text on both sides; images are ignored. Setwise, because a word's weight depends on how many
    candidates contain it. Not trained. Licence: Apache-2.0, part of MRB.
    """

    card = make_plain_card()
    kind = "setwise"
    inputs = ("text", "image+text")
    max_images = None
    version = "1"
    batch_invariant = True

    def __init__(self, k1: float = K1, b: float = B) -> None:
        self.k1 = k1
        self.b = b
        self._words = lru_cache(maxsize=20_000)(tokenize)  # a document is a candidate of many queries

    def score(self, request: Request) -> Sequence[float]:
        """Return one BM25 score per candidate, 0 if no word is shared."""
        documents = [self._words(candidate.text) for candidate in request.candidates]
        return score_bm25(self._words(request.query.text), documents, self.k1, self.b)


def _read_text(data: TaskData, doc_id: str) -> str:
    text = data.corpus.item(doc_id).text
    if not text and data.side is not None and doc_id in data.side:
        return data.side.item(doc_id).text
    return text
