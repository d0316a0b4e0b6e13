"""Tables as parquet, in the schemas of the public sets that each task type comes from."""

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Image, List, Value
from draw import pixel_digest
from tables import Item, TaskTables

Row = dict[str, Any]
STRING, INTEGER = Value("string"), Value("int64")
MBEIR_ITEM = {"id": STRING, "text": STRING, "image": Image(), "modality": STRING}
PAIR = {"query-id": STRING, "corpus-id": STRING, "score": INTEGER}
# The largest table has about 3 MB of distinct images; a dictionary that fits them all stores a repeated image once.
DICTIONARY_BYTES = 64 * 1024 * 1024
FEATURES: dict[str, dict[str, Features]] = {
    "beir": {
        "corpus": Features({"_id": STRING, "title": STRING, "text": STRING}),
        "queries": Features({"_id": STRING, "text": STRING}),
        "qrels": Features(PAIR),
    },
    "mbeir": {
        "corpus": Features(MBEIR_ITEM),
        "queries": Features(MBEIR_ITEM),
        "qrels": Features(PAIR),
        "side": Features({"corpus-id": STRING, "image": Image()}),
    },
    "vidore": {
        "corpus": Features({"corpus-id": INTEGER, "image": Image()}),
        "queries": Features({"query-id": INTEGER, "query": STRING}),
        "qrels": Features({"query-id": INTEGER, "corpus-id": INTEGER, "score": INTEGER}),
        "side": Features({"corpus-id": INTEGER, "text": STRING}),
    },
    "sections": {
        "corpus": Features({"corpus-id": STRING, "images": List(Image())}),
        "queries": Features({"query-id": STRING, "query": STRING}),
        "qrels": Features(PAIR),
        "side": Features({"corpus-id": STRING, "text": STRING}),
    },
}


def _image(item: Item) -> Row | None:
    return None if item.image is None else {"bytes": item.image, "path": None}


def _mbeir(item: Item) -> Row:
    return {"id": item.id, "text": item.text, "image": _image(item), "modality": item.modality}


SHAPES: dict[str, dict[str, Callable[[Item], Row]]] = {
    "beir": {
        "corpus": lambda item: {"_id": item.id, "title": "", "text": item.text},
        "queries": lambda item: {"_id": item.id, "text": item.text},
    },
    "mbeir": {
        "corpus": _mbeir,
        "queries": _mbeir,
        "side": lambda item: {"corpus-id": item.id, "image": _image(item)},
    },
    "vidore": {
        "corpus": lambda item: {"corpus-id": int(item.id), "image": _image(item)},
        "queries": lambda item: {"query-id": int(item.id), "query": item.text},
        "side": lambda item: {"corpus-id": int(item.id), "text": item.text},
    },
    "sections": {
        "corpus": lambda item: {"corpus-id": item.id, "images": [{"bytes": i, "path": None} for i in item.images]},
        "queries": lambda item: {"query-id": item.id, "query": item.text},
        "side": lambda item: {"corpus-id": item.id, "text": item.text},
    },
}


def rows_of(family: str, tables: TaskTables) -> Iterator[tuple[str, list[Row]]]:
    """The parts of a task (corpus, queries, qrels, and side if there is one) as rows in the family's columns."""
    number = int if family == "vidore" else str
    for part, items in (("corpus", tables.corpus), ("queries", tables.queries), ("side", tables.side)):
        if items:
            yield part, [SHAPES[family][part](item) for item in items]
    yield (
        "qrels",
        [
            {"query-id": number(query), "corpus-id": number(document), "score": score}
            for query, document, score in tables.qrels
        ],
    )


def write_table(rows: list[Row], features: Features, path: Path) -> None:
    """One parquet file: one row group, zstd, repeated images stored once, nothing that depends on the clock."""
    table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table,
        path,
        row_group_size=max(1, len(rows)),
        compression="zstd",
        compression_level=19,
        use_dictionary=True,
        dictionary_pagesize_limit=DICTIONARY_BYTES,
        data_page_size=DICTIONARY_BYTES,
        write_statistics=False,
    )


def read_table(path: Path) -> list[Row]:
    """The rows of one written table."""
    rows: list[Row] = pq.read_table(path).to_pylist()
    return rows


def canonical(row: Row) -> bytes:
    """A row as bytes that depend on its values and pixels only, not on how its images are encoded."""
    cells = {name: value for name, value in row.items() if name not in ("image", "images")}
    text = json.dumps(cells, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"{text}\t{' '.join(pixel_digest(image['bytes']) for image in images_of(row))}\n".encode()


def images_of(row: Row) -> list[Row]:
    """The images of a row, in order."""
    return [image for image in (row.get("image"), *(row.get("images") or ())) if image]


def checksum(rows: list[Row]) -> dict[str, Any]:
    """Row count, image count and content hash of one table."""
    digest = sha256()
    for row in rows:
        digest.update(canonical(row))
    return {
        "rows": len(rows),
        "images": sum(len(images_of(row)) for row in rows),
        "sha256": digest.hexdigest(),
    }
