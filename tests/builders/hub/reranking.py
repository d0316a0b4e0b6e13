"""Repositories of mteb's ViDoRe(v3.1, reranking), small: one for each domain and first stage.

The layout is that of mteb's uploader and of the data set cards of the same corpora: configs `english-corpus` (image,
id, text), `english-queries` (language, id, text), `english-qrels` (query-id, corpus-id, score) and
`english-top_ranked` (query-id, corpus-ids), and the same for five more languages, each with the split `test`. Every
language repeats the corpus, and the judgements of all six.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from tests.builders.hub.repositories import COLOURS, IMAGE, THINGS, Files, pictures

LANGUAGES = ("english", "french", "german", "italian", "portuguese", "spanish")
QUESTIONS, PAGES, RANKED = 5, 12, 11
FIRST_STAGES = {
    "bm25s": "BM25s",
    "bge-m3": "BGEm3",
    "qwen3-vl-embedding-2b": "Qwen3VLEmbedding2B",
    "nemotron-3.5-embed-8b": "Nemotron35Embed8B",
}
"""Candidate set -> the word in the name of its repositories."""


def describe_page(number: int) -> str:
    """The markdown of a page; one page has none."""
    return "" if number == 7 else f"# A {COLOURS[number % len(COLOURS)]} {THINGS[number]}"


def name_query(question: int, language: str) -> str:
    """The id of a question in a language."""
    return f"query-test-{LANGUAGES.index(language) * QUESTIONS + question}"


def judge(question: int) -> dict[int, int]:
    """The grades of a question's pages: the same in every language."""
    return {question: 2, question + 5: 1} if question % 2 else {question: 2}


def rank(candidate_set: str, domain: str, query_id: str) -> list[str]:
    """A first stage's pages of a query, best first."""
    pages = [f"corpus-test-{number}" for number in range(PAGES)]
    random.Random(f"{candidate_set} {domain} {query_id}").shuffle(pages)
    return pages[:RANKED]


def build_reranking(candidate_set: str, domain: str) -> Files:
    """The files of the repository of a domain and a first stage."""
    tables = dict(_list_tables(candidate_set, domain))
    files = {f"{config}/test-00000-of-00001.parquet": _to_bytes(table) for config, table in tables.items()}
    configs = "".join(
        f"- config_name: {config}\n  data_files:\n  - split: test\n    path: {config}/test-*\n" for config in tables
    )
    return {**files, "README.md": f"---\nconfigs:\n{configs}---\n".encode()}


def _list_tables(candidate_set: str, domain: str) -> Iterator[tuple[str, pa.Table]]:
    corpus = {
        "image": pa.array([{"bytes": picture, "path": None} for picture in pictures()[:PAGES]], IMAGE),
        "id": [f"corpus-test-{number}" for number in range(PAGES)],
        "text": [describe_page(number) for number in range(PAGES)],
    }
    judged = [
        {"query-id": name_query(question, language), "corpus-id": f"corpus-test-{page}", "score": grade}
        for language in LANGUAGES
        for question in range(QUESTIONS)
        for page, grade in judge(question).items()
    ]
    for language in LANGUAGES:
        ids = [name_query(question, language) for question in range(QUESTIONS)]
        texts = [f"{language}: where is the {THINGS[question]}?" for question in range(QUESTIONS)]
        ranked = {"query-id": ids, "corpus-ids": [rank(candidate_set, domain, query_id) for query_id in ids]}
        yield f"{language}-corpus", pa.table(corpus)
        yield f"{language}-qrels", pa.Table.from_pylist(judged)
        yield f"{language}-queries", pa.table({"language": [language] * len(ids), "id": ids, "text": texts})
        yield f"{language}-top_ranked", pa.table(ranked)


def _to_bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
