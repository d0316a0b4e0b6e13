"""Make a task of a data folder: what it holds decides the type; `task.toml` in it states what cannot be inferred.

`docs/own-data.md` describes the layouts. The task's definition has the hash of the content and no path, so it can go
into the files of a run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, ValidationError, field_validator

from mrb._util.files import write_bytes
from mrb._util.model import Model
from mrb.data.folder_files import TASK_FILE, FolderFiles, find_folder_files, is_folder
from mrb.data.folder_notes import describe_count, describe_empty, describe_unread, log_gaps, log_reading
from mrb.data.folder_tables import ROLES, FolderTables, Role, read_folder_tables
from mrb.data.hub_parts import PartTables
from mrb.data.items import DecodeCache
from mrb.data.tables import ID_COLUMNS, RawTable, iterate_qrels, make_item_table
from mrb.data.task import HEADLINE_MEASURE, Task, TypeName, read_toml
from mrb.data.task_fields import Cluster, HttpsUrl, Images, MeasureName, Part, Rules, Size, Slug, Source, Table
from mrb.errors import DataError, TaskError, format_first_problem

INSTRUCTION = "Find the documents that are relevant to the query."
"""The instruction of a folder that states none. A reranker that follows instructions does better with a precise one."""
_TABLES = {role: Table(config=role, split=role) for role in ("corpus", "queries", "qrels")}
_LETTERS = {(True, False): "t", (False, True): "i", (True, True): "it"}
# MRB has no type `i2it`. The nearest type says that queries, too, may have texts.
_NEAREST = {"i2it": "it2it"}


class FolderDefinition(Model):
    """Content of a folder's `task.toml`. Every field has a default, so the file may be absent.

    `id` is the folder's name by default, `title` the id. `type` follows from the content; it must be given only for
    pages (`t2vd`). `split` names the judgements if there are several files, `candidates` the list if there are several.
    """

    schema_version: Literal[1] = 1
    id: Slug | None = None
    title: str | None = Field(default=None, max_length=80)
    type: TypeName | None = None
    description: str = Field(default="", max_length=1000)
    instruction: str = Field(default=INSTRUCTION, min_length=1, max_length=500)
    source_measure: MeasureName = HEADLINE_MEASURE
    languages: tuple[str, ...] = ()
    licence: str = ""
    licence_note: str = ""
    citation: str = ""
    homepage: HttpsUrl | None = None
    cluster: Cluster = "none"
    split: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    candidates: str | None = Field(default=None, max_length=300)
    rules: Rules = Rules()
    images: Images = Images()

    @field_validator("rules")
    @classmethod
    def _one_part(cls, rules: Rules) -> Rules:
        if rules.average_over_parts:
            raise ValueError("average_over_parts is for tasks of several parts, and a folder is one")
        return rules


def make_folder_task(folder: Path, definition: FolderDefinition | None = None) -> Task:
    """Return the task of a data folder (`mrb.data.own_tasks.load_folder_task` makes it known too); log what was read.

    Args:
        folder: The folder, with `task.toml` or without.
        definition: What to take instead of the content of `task.toml`.

    Raises:
        DataError: A file is missing, or a row is wrong; names file, line and column.
        TaskError: `task.toml` is malformed, or the folder's name gives no id.
    """
    definition = definition or read_folder_definition(folder)
    _, tables = open_folder(folder, definition)
    task = _make_checked(folder, definition, tables)
    log_reading(folder, task, tables, id_stated=definition.id is not None)
    return task


def read_folder_definition(folder: Path) -> FolderDefinition:
    """Return the content of the folder's `task.toml`, the defaults without one. TaskError if it is malformed."""
    path = folder / TASK_FILE
    return read_toml(FolderDefinition, path) if is_folder(folder) and path.is_file() else FolderDefinition()


def open_folder(folder: Path, definition: FolderDefinition) -> tuple[FolderFiles, FolderTables]:
    """Return the files of a data folder and its tables. DataError names what is wrong."""
    files = find_folder_files(folder, definition.split, definition.candidates)
    return files, read_folder_tables(files, definition.images.caps)


def load_folder_part(task: Task, part: Part, folder: Path, cache: DecodeCache) -> PartTables:
    """Load the tables of a folder task. DataError if the folder's content has changed since the task was made."""
    definition = read_folder_definition(folder)
    _, tables = open_folder(folder, definition)
    if tables.content != part.content:
        raise DataError(
            f"task {task.id}: {folder} holds other data than the task was made of (content {tables.content[:12]}, not "
            f"{(part.content or '')[:12]}): it has changed since then"
        )
    caps, first = task.images.caps, task.rules.duplicates != "refuse"
    queries, corpus = (
        replace(
            make_item_table(
                RawTable(table.drop_columns(["place", "files"]), f"task {task.id}, {role}"),
                ID_COLUMNS,
                prefix="",
                caps=caps,
                cache=cache,
                first=first,
            ),
            image_files=table.column("files"),
        )
        for role, table in (("queries", tables.queries), ("corpus", tables.corpus))
    )
    judgements = list(iterate_qrels(RawTable(tables.qrels, f"task {task.id}, qrels"), ""))
    return PartTables(queries, corpus, judgements, corpus, len(corpus), corpus.repeated)


def make_slug(name: str) -> str:
    """Return `name` as an id: small letters, digits, and `-` for all else; empty if nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64].strip("-")


def infer_type(tables: FolderTables, folder: Path) -> TypeName:
    """Return the type by what occurs at least once on each side.

    Queries of images alone against documents of texts and images are `it2it`, because there is no `i2it`. DataError if
    a side has neither text nor image; it names the columns that are there.
    """
    queries, corpus = (
        (_has_text(table), table.column("image").null_count < len(table)) for table in (tables.queries, tables.corpus)
    )
    return choose_type(queries, corpus, str(folder), {role: describe_empty(tables, role) for role in ROLES})


def choose_type(
    queries: tuple[bool, bool], corpus: tuple[bool, bool], where: str, hints: Mapping[Role, str] | None = None
) -> TypeName:
    """Return the type of queries and documents, each given as (any has text, any has an image).

    Raises DataError, which names `where` and ends in the hint of the side, if a side has neither.
    """
    for role, found in zip(ROLES, (queries, corpus), strict=True):
        if found not in _LETTERS:
            raise DataError(f"{where}: none of the {role} has a text or an image{(hints or {}).get(role, '')}")
    name = f"{_LETTERS[queries]}2{_LETTERS[corpus]}"
    return cast("TypeName", _NEAREST.get(name, name))  # all pairs but those of _NEAREST are types


def _check_type(stated: TypeName | None, found: TypeName, folder: Path) -> TypeName:
    """Return the stated type, or the one found if none is stated. TaskError if the content has something else."""
    if stated is None:
        return found
    for side, letters, there in zip(("queries", "documents"), stated.split("2"), found.split("2"), strict=True):
        if not set(there) <= set("i" if letters == "vd" else letters):
            raise TaskError(f"{folder / TASK_FILE}: type is {stated!r}, but the {side} make it {found!r}")
    return stated


def _has_text(table: pa.Table) -> bool:
    return any(pc.any(pc.greater(pc.utf8_length(table.column(name)), 0)).as_py() for name in ("title", "text"))


def name_folder_task(folder: Path, definition: FolderDefinition) -> str:
    """Return the id of a folder's task. TaskError if none is stated and the folder's name gives none."""
    task_id = definition.id or make_slug(folder.resolve().name)
    if not task_id:
        raise TaskError(f"{folder}: its name has no letter that an id can have; state id = ... in {TASK_FILE}")
    return task_id


def summarize_judgements(
    query_ids: pa.Array | pa.ChunkedArray, grades: pa.Array | pa.ChunkedArray
) -> tuple[int, dict[str, bool]]:
    """Return the number of queries with a positive grade, and the rules that the grades decide, by name.

    Args:
        query_ids: The query of each judgement.
        grades: Its grade, an integer.
    """
    positive = pc.filter(query_ids, pc.greater(grades, 0))
    rules = {"graded": pc.greater(grades, 1), "zero_grades_listed": pc.less_equal(grades, 0)}
    return pc.count_distinct(positive).as_py(), {name: bool(pc.any(found).as_py()) for name, found in rules.items()}


def _make_task(folder: Path, definition: FolderDefinition, tables: FolderTables) -> Task:
    task_id = name_folder_task(folder, definition)
    judged, found = summarize_judgements(tables.qrels.column("query-id"), tables.qrels.column("score"))
    rules = definition.rules.model_copy(update=found)
    images = definition.images.model_copy(
        update={"per_query": _count_images(tables.queries), "per_document": _count_images(tables.corpus)}
    )
    stated = definition.model_dump(exclude={"id", "title", "type", "split", "candidates"})
    return Task.model_validate(
        {
            **stated,
            "id": task_id,
            "title": definition.title or task_id,
            "type": _check_type(definition.type, infer_type(tables, folder), folder),
            "rules": rules.model_dump(),
            "images": images.model_dump(),
            "size": Size(queries=judged, documents=len(tables.corpus), qrels=len(tables.qrels)).model_dump(),
            "source": Source(
                kind="folder",
                schema_family="beir",
                format="json",
                parts=(Part(repository=task_id, content=tables.content, **_TABLES),),
            ).model_dump(),
        }
    )


def _make_checked(folder: Path, definition: FolderDefinition, tables: FolderTables) -> Task:
    try:
        task = _make_task(folder, definition, tables)
    except ValidationError as error:
        raise TaskError(f"{folder / TASK_FILE}: {format_first_problem(error)}") from error
    _check_judgements(task, tables)
    return task


def _count_images(table: pa.Table) -> int:
    """Return the greatest number of images of an item, at least 1."""
    column = table.column("image")
    return (pc.max(pc.list_value_length(column)).as_py() or 1) if pa.types.is_list(column.type) else 1


def _check_judgements(task: Task, tables: FolderTables) -> None:
    """Check ids and judgements, and name the line of the first that is wrong, where the rules do not settle it."""
    rules = task.rules
    ids = {}
    for role, table in (("queries", tables.queries), ("corpus", tables.corpus)):
        ids[role] = table.column("_id")
        if rules.duplicates == "refuse" and pc.count_distinct(ids[role]).as_py() < len(table):
            first, again, item_id = _find_repeated(ids[role])
            places = table.column("place")
            raise DataError(f"{places[again]}: id {item_id!r} occurs twice; {places[first]} has it too")
    for column, role, dropped in (
        ("query-id", "queries", rules.drop_qrels_outside_queries),
        ("corpus-id", "corpus", rules.drop_qrels_outside_corpus or rules.raw_qrels),
    ):
        unknown = pc.invert(pc.is_in(tables.qrels.column(column), value_set=ids[role].combine_chunks()))
        if role == "corpus":
            unknown = pc.and_(unknown, pc.greater(tables.qrels.column("score"), 0))
        row = pc.index(unknown, True).as_py()
        if row >= 0 and not dropped:
            place, item_id = tables.qrels.column("place")[row], tables.qrels.column(column)[row].as_py()
            raise DataError(
                f"{place}, column {column}: {item_id!r} is not in the {role}; if the source is known for it, set "
                f"drop_qrels_outside_{role} = true under [rules] in {TASK_FILE}"
            )
    if rules.duplicates == "refuse":
        _refuse_two_grades(tables.qrels.filter(pc.is_in(tables.qrels["query-id"], ids["queries"].combine_chunks())))
    if not task.size.queries:
        raise DataError(f"task {task.id}: no query has a relevant document (a grade above 0)")


def _refuse_two_grades(qrels: pa.Table) -> None:
    """Raise DataError for the first pair that is judged again with another grade, and name both lines."""
    keys = ["query-id", "corpus-id"]
    grades = qrels.group_by(keys).aggregate([("score", "count_distinct")])
    if not pc.any(pc.greater(grades["score_count_distinct"], 1)).as_py():
        return
    seen: dict[tuple[str, str], tuple[int, str]] = {}
    for query_id, doc_id, grade, place in zip(*(qrels[name].to_pylist() for name in qrels.column_names), strict=True):
        first = seen.setdefault((query_id, doc_id), (grade, place))
        if first[0] != grade:
            raise DataError(
                f"{place}: query {query_id!r}, document {doc_id!r} has grade {grade}, and {first[0]} in {first[1]}; "
                f'remove one, or set duplicates = "first" or "max" under [rules] in {TASK_FILE}'
            )


def _find_repeated(ids: pa.ChunkedArray) -> tuple[int, int, str]:
    seen: dict[str, int] = {}
    for row, item_id in enumerate(ids.to_pylist()):
        first = seen.setdefault(item_id, row)
        if first != row:
            return first, row, item_id
    raise AssertionError("no id occurs twice")


def write_task_file(folder: Path, stated: Mapping[str, str | None]) -> tuple[Task, list[str]]:
    """Write the folder's `task.toml` with what is stated (None: left to be inferred), after the data was read.

    Args:
        folder: The data folder, which has no `task.toml` yet.
        stated: Fields of `FolderDefinition` and their values.

    Returns:
        The task, and lines that say what was inferred.

    Raises:
        TaskError: There is a `task.toml`, or a value is not allowed.
        DataError: The data is wrong; names file, line and column.
    """
    path = folder / TASK_FILE
    if path.exists():
        raise TaskError(f"{path}: is there already; edit it, or remove it first")
    given = {name: value for name, value in stated.items() if value is not None}
    try:
        definition = FolderDefinition.model_validate(given)
    except ValidationError as error:
        raise TaskError(f"{folder}: {format_first_problem(error)}") from error
    files, tables = open_folder(folder, definition)
    task = _make_checked(folder, definition, tables)
    log_gaps(folder, tables)
    fields = {"id": task.id, "title": task.title, "instruction": task.instruction, **given}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    write_bytes(path, ("\n".join(["schema_version = 1", *lines]) + "\n").encode())
    return task, list(_describe_folder(task, files, tables))


def _describe_folder(task: Task, files: FolderFiles, tables: FolderTables) -> Iterator[str]:
    """Yield lines that say what was inferred of a data folder: type, counts, candidates, and what is not read."""
    yield f"type        {task.type}: {task.query_modality} to {task.document_modality}"
    yield f"queries     {task.size.queries:,} with a relevant document"
    yield f"documents   {describe_count(tables.corpus)}"
    yield f"judgements  {task.size.qrels or 0:,}{', graded' if task.rules.graded else ''}"
    where = None if files.candidates is None else files.candidates.relative_to(files.folder).as_posix()
    yield f"candidates  {where or 'none: give --first-stage bm25 to `mrb run`'}"
    if unread := describe_unread(tables):
        yield f"not read    columns {unread}"
    yield f"content     {task.revision}"
