"""Small files of each repository in repositories.toml: its documented layout, made-up rows, a few real pictures."""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
PICTURES = HERE.parents[2] / "tasks" / "mini" / "data" / "mini-emoji-i2i" / "corpus" / "test.parquet"
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
COLOURS = ["red", "green", "blue", "yellow", "black", "white", "brown", "orange", "purple", "pink", "grey"]
THINGS = [
    *("boat", "kettle", "ladder", "window", "violin", "anchor"),
    *("basket", "candle", "feather", "hammer", "island", "jacket"),
]
QUERIES, UNJUDGED, DOCUMENTS = 6, 2, 12
Files = dict[str, bytes]


@dataclass(frozen=True)
class Repository:
    """A row of the table."""

    task: str
    name: str
    revision: str
    type: str
    layout: str
    odd: tuple[str, ...]
    part: str = ""

    def files(self) -> Files:
        """The repository's files by path."""
        return _Build(self).files()


def repositories() -> list[Repository]:
    """The whole table."""
    rows = tomllib.loads((HERE / "repositories.toml").read_text(encoding="utf-8"))["repository"]
    return [Repository(**{**row, "odd": tuple(row["odd"])}) for row in rows]


def text(number: int) -> str:
    """Words of document or query `number`; a query shares its thing with one document."""
    return f"a {COLOURS[number % len(COLOURS)]} {THINGS[number % len(THINGS)]} number {number}"


def pictures() -> list[bytes]:
    """Real pictures of the embedded suite, as encoded."""
    table = pq.read_table(PICTURES, columns=["image"]).slice(0, DOCUMENTS)
    return [cell["bytes"] for cell in table.column("image").to_pylist()]


class _Build:
    def __init__(self, repository: Repository) -> None:
        self.repository, self.odd = repository, set(repository.odd)
        self.query_side, self.document_side = repository.type.split("2")
        self.pictures = pictures()

    def files(self) -> Files:
        tables = {"beir": self.beir, "mbeir": self.mbeir, "umrb": self.mbeir, "vidore": self.vidore}
        data, configs = tables[self.repository.layout]()
        if "no_readme" not in self.odd:
            data["README.md"] = _readme(configs)
        data[".gitattributes"] = b"*.parquet filter=lfs\n"
        return data

    def judgements(self, ids: Callable[[int], Any], doc_ids: Callable[[int], Any]) -> list[tuple[Any, Any, int]]:
        """(query, document, grade): query n's positive is document n, some have a second one."""
        rows = [(ids(n), doc_ids(n), 2 if "grades" in self.odd and n == 0 else 1) for n in range(QUERIES)]
        rows.append((ids(1), doc_ids(7), 1))
        if "zeros" in self.odd:
            rows += [(ids(n), doc_ids(n + 1), 0) for n in range(2, 5)]
        if "missing_documents" in self.odd:
            rows += [(ids(0), doc_ids(900), 1), (ids(2), doc_ids(901), 1)]
        if "missing_queries" in self.odd:
            rows.append((ids(800), doc_ids(3), 1))
        return rows

    def beir(self) -> tuple[Files, dict[str, dict[str, str]]]:
        new = "new_upload" in self.odd
        name = "id" if new else "_id"
        own = "query_is_document" in self.odd
        query = (lambda n: f"d{n + 100}" if n == 5 else f"q{n}") if own else (lambda n: f"q{n}")
        titles = ["" if n % 3 == 0 or "empty_titles" in self.odd else THINGS[n % 12].title() for n in range(DOCUMENTS)]
        corpus = [{name: f"d{n}", "title": titles[n], "text": text(n)} for n in range(DOCUMENTS)]
        if own:
            corpus.append({name: "d105", "title": "", "text": text(5)})
        queries = [{name: query(n), "text": text(n)} for n in range(QUERIES + UNJUDGED)]
        rows = self.judgements(query, lambda n: f"d{n}")
        score = float if "float_scores" in self.odd else int
        qrels = [{"query-id": q, "corpus-id": d, "score": score(s)} for q, d, s in rows]
        split = "dev" if "other_splits" in self.odd else "test"
        write, ending = (_parquet, "parquet") if "parquet" in self.odd else (_json_lines, "jsonl")
        files = {f"corpus.{ending}": write(corpus), f"queries.{ending}": write(queries)}
        files |= {f"qrels/{split}.{ending}": write(qrels)}
        if "tsv" in self.odd:
            del files[f"qrels/{split}.{ending}"]
            files[f"qrels/{split}.tsv"] = _tsv(qrels)
        if "other_splits" in self.odd:
            files |= {f"qrels/{other}.{ending}": write(qrels[:2]) for other in ("train", "test")}
        qrels_config = "qrels" if new else "default"
        splits = {Path(path).name.split(".")[0]: path for path in files if path.startswith("qrels/")}
        plain = {"corpus": "test", "queries": "test"} if new else {"corpus": "corpus", "queries": "queries"}
        configs = {config: {plain[config]: f"{config}.{ending}"} for config in plain}
        return files, {qrels_config: splits, **configs}

    def mbeir(self) -> tuple[Files, dict[str, dict[str, str]]]:
        umrb = self.repository.layout == "umrb"
        query_config = "query" if umrb or "query_config" in self.odd else "queries"
        corpus_split = "corpus" if umrb or "corpus_split_corpus" in self.odd else "test"
        documents = self.items([f"9:{n}" for n in range(DOCUMENTS)], self.document_side)
        queries = self.items([f"9:{500 + n}" for n in range(QUERIES + UNJUDGED)], self.query_side)
        if "reference_in_corpus" in self.odd:  # the picture that query 0 shows is document 11's too
            queries = _with_image(queries, 0, self.pictures[11])
        rows = self.judgements(lambda n: f"9:{500 + n}", lambda n: f"9:{n}")
        qrels = [{"query-id": q, "corpus-id": d, "score": s} for q, d, s in rows]
        shards = 2 if "shards" in self.odd else 1
        files = {
            f"corpus/{corpus_split}-{n:05}-of-{shards:05}.parquet": _bytes(
                documents.slice(n * DOCUMENTS // shards, DOCUMENTS // shards)
            )
            for n in range(shards)
        }
        files |= {f"{query_config}/test-00000-of-00001.parquet": _bytes(queries)}
        files |= {"qrels/test-00000-of-00001.parquet": _parquet(qrels)}
        return files, {
            "corpus": {corpus_split: f"corpus/{corpus_split}-*"},
            query_config: {"test": f"{query_config}/test-*"},
            "qrels": {"test": "qrels/test-*"},
        }

    def items(self, ids: list[str], side: str) -> pa.Table:
        """A table in M-BEIR's columns; that of an unused modality is null, or not there at all."""
        count = range(len(ids))
        texts = [text(n) if "t" in side else None for n in count]
        cells = [{"bytes": self.pictures[n], "path": None} if "i" in side else None for n in count]
        columns = {"id": pa.array(ids), "text": pa.array(texts, pa.string() if "t" in side else pa.null())}
        if "i" in side or "no_image_column" not in self.odd:
            columns["image"] = pa.array(cells, IMAGE)
        modality = {"t": "text", "i": "image", "it": "image,text"}[side]
        columns["modality"] = pa.array([modality] * len(ids))
        return pa.table(columns)

    def vidore(self) -> tuple[Files, dict[str, dict[str, str]]]:
        corpus = {
            "corpus-id": pa.array(range(DOCUMENTS), pa.int64()),
            "image": pa.array([{"bytes": picture, "path": None} for picture in self.pictures], IMAGE),
        }
        queries = {
            "query-id": pa.array(range(QUERIES + UNJUDGED), pa.int64()),
            "query": pa.array([text(n) for n in range(QUERIES + UNJUDGED)]),
        }
        if "extra_columns" in self.odd:
            corpus["doc-id"] = pa.array([f"{n}.pdf" for n in range(DOCUMENTS)])
            queries["answer"] = pa.nulls(QUERIES + UNJUDGED, pa.string())
        rows = self.judgements(lambda n: n, lambda n: n)
        qrels = [{"query-id": q, "corpus-id": d, "score": s} for q, d, s in rows]
        tables = {"corpus": _bytes(pa.table(corpus)), "queries": _bytes(pa.table(queries)), "qrels": _parquet(qrels)}
        files = {f"{config}/test-00000-of-00001.parquet": data for config, data in tables.items()}
        return files, {config: {"test": f"{config}/test-*"} for config in tables}


def _with_image(table: pa.Table, row: int, picture: bytes) -> pa.Table:
    cells = table.column("image").to_pylist()
    cells[row] = {"bytes": picture, "path": None}
    return table.set_column(table.column_names.index("image"), "image", pa.array(cells, IMAGE))


def _bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=4)
    return buffer.getvalue()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    return _bytes(pa.Table.from_pylist(rows))


def _json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _tsv(rows: list[dict[str, Any]]) -> bytes:
    lines = ["\t".join(rows[0])] + ["\t".join(map(str, row.values())) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def _readme(configs: dict[str, dict[str, str]]) -> bytes:
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, path in splits.items():
            lines += [f"  - split: {split}", f"    path: {path}"]
    return ("\n".join([*lines, "---", "", "# A fixture"]) + "\n").encode()
