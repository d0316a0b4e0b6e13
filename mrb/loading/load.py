"""From a task to its data: find the files, read the tables, apply the rules, count what they did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mrb.errors import DataError
from mrb.items import DecodeCache
from mrb.loading.counts import Counts
from mrb.loading.data import ItemTable, Qrels, TaskData
from mrb.loading.tables import CORPUS_ID_COLUMNS, QUERY_ID_COLUMNS, Raw, item_table, qrel_rows, read_files
from mrb.task import Part, Table, Task, task_folder


def load_task_data(task: Task, *, decode_cache: DecodeCache | None = None) -> TaskData:
    """The tables of `task` under its rules. DataError names the repository, table and row that do not fit."""
    if task.source.kind == "hub":
        raise DataError(
            f"task {task.id}: this version of MRB does not yet fetch data from the Hub "
            f"({task.source.parts[0].repository}); `--suite mini` runs on embedded data"
        )
    cache = decode_cache or DecodeCache()
    (part,) = task.source.parts
    queries = _items(task, part, part.queries, QUERY_ID_COLUMNS, cache)
    corpus = _items(task, part, part.corpus, CORPUS_ID_COLUMNS, cache)
    side = None if part.side is None else _items(task, part, part.side, CORPUS_ID_COLUMNS, cache)
    judged = _judge(task, queries, corpus, qrel_rows(_raw(task, part, part.qrels), prefix=""))
    counts = Counts(
        queries=len(judged.qrels),
        documents=len(corpus),
        qrels=sum(len(grades) for grades in judged.qrels.values()),
        queries_in_table=len(queries),
        queries_without_positives=judged.without_positives,
        qrels_outside_corpus=judged.outside_corpus,
        qrels_not_positive=judged.not_positive,
    )
    kept = ItemTable(
        queries.name,
        {query_id: queries.rows[query_id] for query_id in judged.qrels},
        queries.texts,
        queries.images,
        queries.caps,
        cache,
    )
    return TaskData(task, kept, corpus, judged.qrels, counts, side)


@dataclass(frozen=True)
class _Judged:
    qrels: Qrels
    without_positives: int
    outside_corpus: int
    not_positive: int


def _judge(task: Task, queries: ItemTable, corpus: ItemTable, rows: Iterable[tuple[str, str, int]]) -> _Judged:
    """The positive judgements by query, in the order of the query table, and what was left out."""
    grades: dict[str, dict[str, int]] = {}
    outside = not_positive = 0
    for query_id, doc_id, grade in rows:
        if query_id not in queries:
            raise DataError(f"task {task.id}: qrels judge query {query_id!r}, which is not in the query table")
        judged = grades.setdefault(query_id, {})
        if doc_id in judged:
            raise DataError(f"task {task.id}: query {query_id!r}, document {doc_id!r} is judged twice")
        if grade <= 0:
            not_positive += 1
        elif doc_id not in corpus:
            outside += 1
            if not task.rules.drop_qrels_outside_corpus:
                raise DataError(
                    f"task {task.id}: query {query_id!r} has the positive {doc_id!r}, which is not in the corpus; "
                    "if the source is known for it, set rules.drop_qrels_outside_corpus in the task's file"
                )
        else:
            judged[doc_id] = grade
    kept = {query_id: grades[query_id] for query_id in queries if grades.get(query_id)}
    return _Judged(kept, len(grades) - len(kept), outside, not_positive)


def _items(task: Task, part: Part, table: Table, id_columns: tuple[str, ...], cache: DecodeCache) -> ItemTable:
    prefix = f"{part.name}/" if part.name else ""
    return item_table(_raw(task, part, table), id_columns, prefix=prefix, caps=task.images.caps, cache=cache)


def _raw(task: Task, part: Part, table: Table) -> Raw:
    path = _embedded_folder(part) / table.config / f"{table.split}.parquet"
    where = f"task {task.id}, {table.config}/{table.split}"
    if not path.is_file():
        raise DataError(f"{where}: {path} is missing; install MRB again")
    return read_files([path], task.source.format, where)


def _embedded_folder(part: Part) -> Path:
    return task_folder() / "mini" / "data" / part.repository
