"""Load the tables of one part of a task from the cached files of its Hub repository at the pinned revision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mrb.data.corpus_subset import CorpusSource, CorpusSubset, NeededDocuments, read_footers, reduce_corpus
from mrb.data.items import DecodeCache
from mrb.data.table_choice import choose_table, get_roles
from mrb.data.tables import (
    CORPUS_ID_COLUMNS,
    IMAGE_COLUMNS,
    QREL_COLUMNS,
    QUERY_ID_COLUMNS,
    TEXT_COLUMNS,
    RawTable,
    iterate_qrels,
    make_item_table,
    read_files,
)
from mrb.data.task import Task
from mrb.data.task_data import ItemTable
from mrb.data.task_fields import Part
from mrb.errors import DataError
from mrb.hub.client import fetch_files, open_manifest
from mrb.hub.manifest import Manifest, ReadTable, record
from mrb.hub.table_discovery import detect_format

Judgement = tuple[str, str, int]
_IDS = {"corpus": CORPUS_ID_COLUMNS, "queries": QUERY_ID_COLUMNS}


@dataclass(frozen=True)
class PartTables:
    """The tables of one part of a task.

    `present` holds at least every judged or needed id that the corpus has. `documents` is the number of documents of
    the whole corpus. `documents_repeated` is the number of rows that were dropped because their id is repeated. `first`
    is true if these tables are read on this machine for the first time.
    """

    queries: ItemTable
    corpus: ItemTable
    judgements: Sequence[Judgement]
    present: frozenset[str] | ItemTable
    documents: int
    documents_repeated: int = 0
    side: ItemTable | None = None
    first: bool = False


def find_part_files(task: Task, part: Part, manifest: Manifest) -> dict[str, tuple[str, list[str]]]:
    """Return {role: (`config/split`, paths)} for the part's tables.

    Raises DataError, which lists the tables of the repository, if one is missing.
    """
    where = f"task {task.id}, {part.repository} at {manifest.revision[:12]}"
    found = {}
    for role, table in get_roles(part).items():
        config, split, paths = choose_table(manifest.tables, role, table, where)
        found[role] = (f"{config}/{split}", paths)
    return found


def check_columns(task: Task, role: str, columns: Sequence[str], where: str) -> None:
    """Raise DataError if a table lacks a required column: ids, grades, or the text or images of the task's modality.

    The column of a modality that the task does not use may be missing or empty.
    """
    wanted: list[tuple[str, ...]] = list(QREL_COLUMNS) if role == "qrels" else [_IDS[role]]
    if role != "qrels" and "text" in _detect_modality(task, role):
        wanted.append(TEXT_COLUMNS)
    if role != "qrels" and "image" in _detect_modality(task, role):
        wanted.append(IMAGE_COLUMNS)
    for names in wanted:
        if not set(names) & set(columns):
            raise DataError(f"{where}: columns found: {', '.join(columns)}; wanted one of: {', '.join(names)}")


def load_part(task: Task, part: Part, cache: DecodeCache, needed: NeededDocuments | None) -> PartTables:
    """Load the part's tables; the corpus holds the documents that `needed` names, or all of them if it is None."""
    reader = _Reader(task, part, cache)
    prefix = f"{part.name}/" if part.name else ""
    raw_qrels = reader.raw("qrels")
    judgements = list(iterate_qrels(raw_qrels, prefix))
    queries = reader.items("queries", QUERY_ID_COLUMNS, prefix)
    _check_content(task, "queries", queries)
    if needed is None:
        corpus = reader.items("corpus", CORPUS_ID_COLUMNS, prefix)
        _check_content(task, "corpus", corpus)
        return PartTables(queries, corpus, judgements, corpus, len(corpus), corpus.repeated, first=reader.first)
    judged = frozenset(doc_id for _, doc_id, grade in judgements if grade > 0)
    reduced = reader.reduced("corpus", prefix, needed, judged)
    _check_content(task, "corpus", reduced.items)
    documents = reduced.rows - reduced.items.repeated
    return PartTables(
        queries, reduced.items, judgements, reduced.present, documents, reduced.items.repeated, first=reader.first
    )


def _check_content(task: Task, role: str, items: ItemTable) -> None:
    """Raise DataError if no row has the text or the image that the task needs: some uploads lost their images."""
    modality = _detect_modality(task, role)
    for name in ("text", "image"):
        if name in modality and len(items) and not (items.has_texts if name == "text" else items.has_images):
            raise DataError(f"{items.name}: none of {len(items)} rows has {name}, which the task's {role} are made of")


def _detect_modality(task: Task, role: str) -> str:
    return task.query_modality if role == "queries" else task.document_modality


@dataclass
class _Reader:
    task: Task
    part: Part
    cache: DecodeCache
    manifest: Manifest = field(init=False)
    tables: dict[str, tuple[str, list[str]]] = field(init=False)
    first: bool = field(init=False)

    def __post_init__(self) -> None:
        assert self.part.revision is not None  # `Source` refuses a Hub part without a revision
        self.manifest = open_manifest(self.part.repository, self.part.revision)
        self.tables = find_part_files(self.task, self.part, self.manifest)
        self.first = not all(name in self.manifest.read for name, _ in self.tables.values())

    def where(self, role: str) -> str:
        """Return the name of the table for messages."""
        return f"task {self.task.id}, {self.part.repository}, {self.tables[role][0]}"

    def raw(self, role: str) -> RawTable:
        """Read a whole table, memory-mapped."""
        paths = self.fetched(role)
        raw = read_files(paths, self.form(role), self.where(role))
        self.recorded(role, raw.table.num_rows, raw.table.column_names)
        return raw

    def items(self, role: str, id_columns: tuple[str, ...], prefix: str) -> ItemTable:
        """Read a whole table of queries or documents."""
        caps, first = self.task.images.caps, self.task.rules.duplicates != "refuse"
        return make_item_table(self.raw(role), id_columns, prefix=prefix, caps=caps, cache=self.cache, first=first)

    def reduced(self, role: str, prefix: str, needed: NeededDocuments, judged: frozenset[str]) -> CorpusSubset:
        """Read the needed rows of a table."""
        paths, form, where = self.fetched(role), self.form(role), self.where(role)
        whole = None if form == "parquet" else read_files(paths, form, where)
        if whole is None:
            rows, columns = read_footers(paths, where)
        else:
            rows, columns = whole.table.num_rows, tuple(whole.table.column_names)
        self.recorded(role, rows, columns)
        digests = [self.manifest.checked[path].sha256 for path in self.tables[role][1]]
        source = CorpusSource(paths, digests, prefix, where, rows, whole, self.task.rules.duplicates != "refuse")
        return reduce_corpus(source, needed, judged, self.task.images.caps, self.cache)

    def recorded(self, role: str, rows: int, columns: Sequence[str]) -> None:
        """Record what the first load found. Raise DataError if a later load finds something else."""
        check_columns(self.task, role, columns, self.where(role))
        name, files = self.tables[role]
        found = ReadTable(files=tuple(files), rows=rows, columns=tuple(columns))
        if name not in self.manifest.read:
            self.manifest = record(self.manifest, read={name: found})
        known = self.manifest.read[name]
        if known != found:
            raise DataError(
                f"{self.where(role)}: {found.rows} rows of {', '.join(found.columns)}; the first load found "
                f"{known.rows} of {', '.join(known.columns)}; `mrb data check --task {self.task.id}` checks the files"
            )

    def fetched(self, role: str) -> list[Path]:
        """Return the table's local files, downloading those that are missing."""
        self.manifest, found = fetch_files(self.manifest, self.tables[role][1])
        return found

    def form(self, role: str) -> str:
        """Return the file format by the names of the table's files, because a definition's `format` may be a guess."""
        forms = {detect_format(path) or "" for path in self.tables[role][1]}
        if len(forms) != 1:
            raise DataError(f"{self.where(role)}: files of several formats: {', '.join(sorted(forms))}")
        return forms.pop()
