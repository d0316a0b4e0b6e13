"""Data folders as users have them, in the layouts that others publish."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow.parquet as pq

from tests.builders.hub.repositories import pictures

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


TREC = Path(__file__).parents[1] / "data" / "trec"
"""Lines of trec_eval's own test files (github.com/usnistgov/trec_eval, test/qrels.rel_level and test/results.test):
graded judgements of topics 301 to 303 with all grades above 1, and the 50 best documents of a run for each."""
TREC_NDCG_AT_10 = {"301": 0.0439, "302": 0.7530, "303": 0.0000}
"""What trec_eval says of these topics (test/out.test.aql, ndcg_cut_10); the lines left out do not change it."""
TOPICS = {
    "301": "International Organized Crime",
    "302": "Poliomyelitis and Post-Polio",
    "303": "Hubble Telescope Achievements",
}


def write_trec_collection(folder: Path) -> Path:
    """Write a TREC collection: topics and documents without column names, as MS MARCO has them, qrels and run of TREC.

    TREC's documents are not free to copy, so each text is the document's number.
    """
    folder.mkdir()
    lines = [line.split() for name in ("qrels.txt", "run.trec") for line in (TREC / name).read_text().splitlines()]
    (folder / "collection.tsv").write_text(
        "".join(f"{doc}\tdocument {doc}\n" for doc in sorted({row[2] for row in lines}))
    )
    (folder / "topics.tsv").write_text("".join(f"{number}\t{title}\n" for number, title in TOPICS.items()))
    for name in ("qrels.txt", "run.trec"):
        (folder / name).write_bytes((TREC / name).read_bytes())
    return folder


MINI = Path(__file__).parents[2] / "tasks" / "mini" / "data"


def write_captioned_images(folder: Path) -> Path:
    """Write an image-caption set of the flags that MRB carries: images in a folder, one caption a line, no corpus file.

    A caption is a query, and its image is relevant.
    """
    (folder / "images").mkdir(parents=True)
    corpus = pq.read_table(MINI / "mini-flag-t2i" / "corpus" / "test.parquet").to_pylist()
    queries = pq.read_table(MINI / "mini-flag-t2i" / "queries" / "test.parquet").to_pylist()[:20]
    qrels = pq.read_table(MINI / "mini-flag-t2i" / "qrels" / "test.parquet").to_pylist()
    wanted = {row["id"] for row in queries}
    for row in corpus:
        (folder / "images" / f"{row['id']}.png").write_bytes(row["image"]["bytes"])
    with (folder / "queries.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows([row["id"], row["text"]] for row in queries)
    rows = [row for row in qrels if row["query-id"] in wanted]
    (folder / "qrels.csv").write_text(
        "query-id,corpus-id,score\n" + "".join(f"{r['query-id']},{r['corpus-id']},{r['score']}\n" for r in rows)
    )
    return folder


def put_image(folder: Path, name: str = "images/a.png", encoded: bytes | None = None) -> None:
    """Write an image, by default a PNG."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(encoded or pictures()[0])


def add_row(folder: Path, name: str = "corpus.jsonl", **row: object) -> None:
    """Add a row to a JSONL table."""
    with (folder / name).open("a") as file:
        file.write(json.dumps(row) + "\n")
