"""Load the data of a task: find the files, read the tables, apply the rules and count their effects."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from mrb.data.corpus_subset import NeededDocuments
from mrb.data.embedded import check_file, check_part
from mrb.data.folder_task import load_folder_part
from mrb.data.hub_parts import Judgement, PartTables, load_part
from mrb.data.items import DecodeCache
from mrb.data.own_tasks import require_task_folder
from mrb.data.stats import Counts, check_counts
from mrb.data.tables import (
    CORPUS_ID_COLUMNS,
    QUERY_ID_COLUMNS,
    RawTable,
    iterate_qrels,
    make_item_table,
    read_files,
    read_small,
)
from mrb.data.task import Task, locate_task_folder
from mrb.data.task_data import ItemTable, Qrels, TaskData, as_lists, holds_lists
from mrb.data.task_fields import Part, Table
from mrb.errors import DataError

SMALL = 4 * 1024 * 1024
"""Largest size in bytes of an embedded file that is read into memory; a larger one is memory-mapped."""


def load_task_data(
    task: Task,
    *,
    decode_cache: DecodeCache | None = None,
    root: Path | None = None,
    needed: NeededDocuments | None = None,
) -> TaskData:
    """Load the tables of a task and apply its rules.

    Args:
        task: The task.
        decode_cache: The cache of decoded images; a new one if None.
        root: The folder of the embedded repositories, or of a folder task's data; the known one if None.
        needed: If given, the corpus of a Hub task holds only the documents that it names.

    Returns:
        The task's data. Its counts are those of the whole corpus, whatever `needed` is.

    Raises:
        DataError: A file is missing or damaged, or a row breaks the rules. The error names repository, table and row.
    """
    cache = decode_cache or DecodeCache()
    if task.source.kind == "hub":
        parts = [load_part(task, part, cache, needed) for part in task.source.parts]
    elif task.source.kind == "folder":
        folder = root or require_task_folder(task)
        parts = [load_folder_part(task, part, folder, cache) for part in task.source.parts]
    else:
        parts = [_load_embedded(task, part, root or locate_embedded_data(), cache) for part in task.source.parts]
    queries, corpus = join_tables([part.queries for part in parts]), join_tables([part.corpus for part in parts])
    present: ItemTable | Set[str] = parts[0].present
    if len(parts) > 1:
        present = {doc_id for part in parts for doc_id in part.present}
    judged = _apply_rules(task, queries, present, itertools.chain.from_iterable(part.judgements for part in parts))
    counts = Counts(
        queries=len(judged.qrels),
        documents=sum(part.documents for part in parts),
        qrels=sum(len(grades) for grades in judged.qrels.values()),
        queries_in_table=len(queries),
        queries_without_positives=judged.without_positives,
        qrels_outside_corpus=judged.outside_corpus,
        qrels_outside_queries=judged.outside_queries,
        qrels_not_positive=judged.not_positive,
        qrels_repeated=judged.repeated,
        queries_repeated=sum(part.queries.repeated for part in parts),
        documents_repeated=sum(part.documents_repeated for part in parts),
    )
    if task.source.seen_live is not None or any(part.first for part in parts):
        check_counts(task, counts)
    _check_image_counts(task, queries, corpus)
    kept = replace(queries, rows={query_id: queries.rows[query_id] for query_id in judged.qrels})
    return TaskData(task, kept, corpus, judged.qrels, counts, parts[0].side)


def join_tables(tables: Sequence[ItemTable]) -> ItemTable:
    """Concatenate tables in order. Their ids are unique because each part has its own prefix."""
    if len(tables) == 1:
        return tables[0]
    rows: dict[str, int] = {}
    titled = any(table.titles is not None for table in tables)
    several = any(table.images is not None and holds_lists(table.images) for table in tables)
    kind = pa.list_(pa.binary()) if several else pa.binary()
    titles, texts, images, offset = [], [], [], 0
    for table in tables:
        rows |= {item_id: offset + row for item_id, row in table.rows.items()}
        size = len(table.texts if table.texts is not None else table.images or ())
        offset += size
        titles += _list_chunks(table.titles, size, pa.string())
        texts += _list_chunks(table.texts, size, pa.string())
        column = as_lists(table.images) if several and table.images is not None else table.images
        images += _list_chunks(column, size, kind)
    return replace(
        tables[0],
        rows=rows,
        texts=pa.chunked_array(texts, pa.string()),
        images=pa.chunked_array(images, kind),
        titles=pa.chunked_array(titles, pa.string()) if titled else None,
    )


def _list_chunks(column: pa.ChunkedArray | None, size: int, kind: pa.DataType) -> list[pa.Array]:
    return [pa.nulls(size, kind)] if column is None else column.cast(kind).chunks


def locate_embedded_data() -> Path:
    """Return the installed folder of embedded data: one folder per repository, with files `config/split.parquet`."""
    return locate_task_folder() / "mini" / "data"


FROZEN_ENDS = " "
"""Characters that are stripped from embedded texts. They are frozen as first joined: a final line break stays."""


def _check_image_counts(task: Task, queries: ItemTable, corpus: ItemTable) -> None:
    """Raise DataError if an item has more images than the task's definition states.

    Rerankers that take one image per item do not cover a task with several, which is decided by the definition.
    """
    limits = ((queries, "per_query", task.images.per_query), (corpus, "per_document", task.images.per_document))
    for table, key, most in limits:
        for item_id in table if table.most_images > most else ():
            count = len(table.encoded(item_id))
            if count > most:
                raise DataError(
                    f"{table.name}: {item_id!r} has {count} images, and {key} = {most} in [images] of the file of task "
                    f"{task.id}, which states the greatest number"
                )


@dataclass(frozen=True)
class _Judgements:
    qrels: Qrels
    without_positives: int
    outside_corpus: int
    outside_queries: int
    not_positive: int
    repeated: int


def _apply_rules(
    task: Task, queries: ItemTable, corpus: ItemTable | Set[str], rows: Iterable[Judgement]
) -> _Judgements:
    """Return the positive judgements by query, in the order of the query table, and the numbers of dropped rows."""
    grades: dict[str, dict[str, int]] = {}
    outside = unknown = rows_judged = 0
    rule = task.rules.duplicates
    for query_id, doc_id, grade in rows:
        if query_id not in queries:
            unknown += 1
            if task.rules.drop_qrels_outside_queries:
                continue
            raise DataError(f"task {task.id}: qrels judge query {query_id!r}, which is not in the query table")
        judged = grades.setdefault(query_id, {})
        known = judged.setdefault(doc_id, grade)
        if known != grade and rule == "refuse":
            raise DataError(
                f"task {task.id}: query {query_id!r}, document {doc_id!r} is judged twice, {known} and {grade}; where "
                'the source is known for it, duplicates = "first" or "max" in the [rules] of the task\'s file takes one'
            )
        if rule == "max":
            judged[doc_id] = max(known, grade)
        rows_judged += 1
    repeated = rows_judged - sum(map(len, grades.values()))
    not_positive = sum(grade <= 0 for judged in grades.values() for grade in judged.values())
    for query_id, judged in grades.items():
        absent = [doc_id for doc_id, grade in judged.items() if grade > 0 and doc_id not in corpus]
        outside += len(absent)
        if absent and not task.rules.drop_qrels_outside_corpus:
            raise DataError(
                f"task {task.id}: query {query_id!r} has the positive {absent[0]!r}, which is not in the corpus; "
                "if the source is known for it, set rules.drop_qrels_outside_corpus in the task's file"
            )
    positive = {
        query_id: {d: grade for d, grade in judged.items() if grade > 0 and (task.rules.raw_qrels or d in corpus)}
        for query_id, judged in grades.items()
    }
    kept = {query_id: positive[query_id] for query_id in queries if positive.get(query_id)}
    return _Judgements(kept, len(grades) - len(kept), outside, unknown, not_positive, repeated)


def _load_embedded(task: Task, part: Part, root: Path, cache: DecodeCache) -> PartTables:
    shipped = root == locate_embedded_data()
    if shipped:
        check_part(task, part, root)
    reader = _Reader(task, part, root / part.repository, cache, shipped)
    queries, corpus = reader.items(part.queries, QUERY_ID_COLUMNS), reader.items(part.corpus, CORPUS_ID_COLUMNS)
    side = None if part.side is None else reader.items(part.side, CORPUS_ID_COLUMNS)
    judgements = list(iterate_qrels(reader.raw(part.qrels), prefix=reader.prefix))
    return PartTables(queries, corpus, judgements, corpus, len(corpus), corpus.repeated, side)


@dataclass(frozen=True)
class _Reader:
    """Reads the tables of one embedded part from its folder."""

    task: Task
    part: Part
    folder: Path
    cache: DecodeCache
    shipped: bool

    @property
    def prefix(self) -> str:
        """The prefix of every id of the part."""
        return f"{self.part.name}/" if self.part.name else ""

    def items(self, table: Table, id_columns: tuple[str, ...]) -> ItemTable:
        """Read a table of queries or documents."""
        raw, caps = self.raw(table), self.task.images.caps
        first = self.task.rules.duplicates != "refuse"
        items = make_item_table(raw, id_columns, prefix=self.prefix, caps=caps, cache=self.cache, first=first)
        return replace(items, ends=FROZEN_ENDS)

    def raw(self, table: Table) -> RawTable:
        """Read a table. Raises DataError if the file is missing or damaged."""
        path = self.folder / table.config / f"{table.split}.parquet"
        where = f"task {self.task.id}, {table.config}/{table.split}"
        if not path.is_file():
            raise DataError(
                f"{where}: {path} is missing; a new install brings it, or, if it is a training split too "
                "large to ship, `python tasks/mini/build` in a clone"
            )
        if self.shipped:
            check_file(self.task, self.part, table, self.folder.parent, path)
        form = self.task.source.format
        if form == "parquet" and path.stat().st_size <= SMALL:
            return read_small(path, where)
        return read_files([path], form, where)
