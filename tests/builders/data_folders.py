"""Data folders as users have them, in the layouts that others publish."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

CORPUS = {
    "doc1": {"title": "Albert Einstein", "text": "Albert Einstein was a German-born theoretical physicist."},
    "doc2": {
        "title": "",
        "text": "Wheat beer is a top-fermented beer which is brewed with a large proportion of wheat.",
    },
    "doc3": {"title": "Lager", "text": "Lager is a beer which is brewed at a low temperature."},
}
QUERIES = {
    "q1": "Who developed the mass-energy equivalence formula?",
    "q2": "Which beer is brewed with a large proportion of wheat?",
}
QRELS = {"q1": {"doc1": 1}, "q2": {"doc2": 1}}
"""Documents, queries and judgements of the example in beir's repository (examples/retrieval/evaluation/custom)."""


def write_beir(
    folder: Path,
    *,
    corpus: Mapping[str, Mapping[str, object]] = CORPUS,
    queries: Mapping[str, str] = QUERIES,
    qrels: Mapping[str, Mapping[str, int]] = QRELS,
    split: str = "test",
) -> Path:
    """Write a folder as `beir.util.write_to_json` and `write_to_tsv` do, which made BEIR's archives."""
    lines = ({"_id": name, **row, "metadata": {}} for name, row in corpus.items())
    write_lines(folder / "corpus.jsonl", lines)
    write_lines(
        folder / "queries.jsonl", ({"_id": name, "text": text, "metadata": {}} for name, text in queries.items())
    )
    rows = [f"{query}\t{doc}\t{grade}\r\n" for query, judged in qrels.items() for doc, grade in judged.items()]
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / "qrels" / f"{split}.tsv").write_bytes("".join(["query-id\tcorpus-id\tscore\r\n", *rows]).encode())
    return folder


def write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write one JSON object per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_trec(path: Path, lists: Mapping[str, Iterable[str]], tag: str = "bm25") -> None:
    """Write a TREC run; the documents of each query are given best first."""
    lines = [
        f"{query} Q0 {doc} {rank} {100 - rank:.4f} {tag}\n"
        for query, docs in lists.items()
        for rank, doc in enumerate(docs, start=1)
    ]
    path.write_text("".join(lines))
