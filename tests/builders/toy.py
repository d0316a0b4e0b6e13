"""Small tasks built in memory: real `TaskData`, `Candidates` and `Plan`, nothing mocked."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from PIL import Image

from mrb.candidates import lists
from mrb.candidates.lists import Candidates, Provenance
from mrb.data.items import DecodeCache
from mrb.data.stats import Counts
from mrb.data.task import Task
from mrb.data.task_data import ItemTable, TaskData
from mrb.evaluation.plan import Plan, make_plan

Images = bytes | list[bytes] | None
Content = str | bytes | tuple[str | None, Images] | None


def toy_task(**fields: Any) -> Task:
    """An embedded task; any field of `Task` may be given."""
    table = {"config": "default", "split": "test"}
    base = {
        "schema_version": 1,
        "id": "toy",
        "title": "Toy",
        "type": "t2t",
        "description": "A toy.",
        "instruction": "Find it.",
        "source_measure": "nDCG@10",
        "status": "confirmed",
        "status_reason": "made for a test",
        "languages": ["en"],
        "licence": "CC0-1.0",
        "citation": "none",
        "size": {"queries": 3, "documents": 5},
        "source": {
            "kind": "embedded",
            "schema_family": "beir",
            "format": "parquet",
            "parts": [
                {
                    "repository": "toy",
                    "content": "0" * 64,
                    "corpus": {**table, "config": "corpus"},
                    "queries": {**table, "config": "queries"},
                    "qrels": table,
                }
            ],
        },
    }
    return Task.model_validate({**base, **fields})


def toy_table(name: str, rows: Mapping[str, Content]) -> ItemTable:
    """A table of items: a text, encoded image bytes (or a list of them), or both for each id."""
    pairs = [value if isinstance(value, tuple) else _pair(value) for value in rows.values()]
    texts = pa.chunked_array([pa.array([text for text, _ in pairs], pa.string())])
    several = any(isinstance(images, list) for _, images in pairs)
    cells = [[image] if several and isinstance(image, bytes) else image for _, image in pairs]
    images = pa.chunked_array([pa.array(cells, pa.list_(pa.binary()) if several else pa.binary())])
    return ItemTable(name, {item_id: row for row, item_id in enumerate(rows)}, texts, images, cache=DecodeCache())


def toy_data(
    queries: Mapping[str, Content],
    corpus: Mapping[str, Content],
    qrels: Mapping[str, Mapping[str, int]],
    task: Task | None = None,
) -> TaskData:
    """A task's data held in memory."""
    counts = Counts(
        queries=len(queries),
        documents=len(corpus),
        qrels=sum(map(len, qrels.values())),
        queries_in_table=len(queries),
        queries_without_positives=0,
        qrels_outside_corpus=0,
        qrels_not_positive=0,
    )
    return TaskData(task or toy_task(), toy_table("queries", queries), toy_table("corpus", corpus), qrels, counts)


def toy_candidates(rankings: Mapping[str, Sequence[str]], depth: int = 100, task: Task | None = None) -> Candidates:
    """A list whose scores fall from 1.0 in steps of 0.001."""
    task = task or toy_task()
    made = Provenance(
        task=task.id,
        list_hash=task.list_hash,
        revision=task.revision,
        first_stage="toy",
        track="test",
        depth=depth,
    )
    return lists.build_candidates(
        made, [(query, ids, [1.0 - 0.001 * rank for rank in range(len(ids))]) for query, ids in rankings.items()]
    )


def toy_plan(n_queries: int = 3, n_docs: int = 5, depth: int = 100, task: Task | None = None) -> Plan:
    """Query `q7` has the text "query words 7", document `doc-3` "document words 3"; every query has all documents."""
    docs = {f"doc-{n}": f"document words {n}" for n in range(n_docs)}
    queries = {f"q{n}": f"query words {n}" for n in range(n_queries)}
    # Each query's first-stage order is rotated, so that no two are alike.
    names = list(docs)
    rankings = {q: names[n % n_docs :] + names[: n % n_docs] for n, q in enumerate(queries)}
    data = toy_data(queries, docs, {q: {names[0]: 1} for q in queries}, task)
    return make_plan(data, toy_candidates(rankings, task=task), depth)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """`image` as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _pair(value: str | bytes | None) -> tuple[str | None, bytes | None]:
    return (None, value) if isinstance(value, bytes) else (value, None)
