"""Read the rows of a data folder's tables with their places, which errors name: file, line and column."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from mrb._util.parquet import open_untrusted
from mrb.data.folder_files import MAX_TABLE_BYTES
from mrb.data.json_rows import Real, iterate_objects
from mrb.data.tables import CORPUS_ID_COLUMNS, QUERY_ID_COLUMNS, TEXT_COLUMNS
from mrb.data.task_fields import MOST_IMAGES
from mrb.errors import DataError, to_one_line
from mrb.metrics.measures import MAX_GRADE

ID_NAMES = {
    "corpus": (*CORPUS_ID_COLUMNS, "corpus_id", "doc_id", "docid", "docno", "pid"),
    "queries": (*QUERY_ID_COLUMNS, "query_id", "qid"),
}
IMAGE_NAMES = ("image", "images", "image_path", "file_name")
QRELS_NAMES = {
    "query": ("query-id", "query_id", "qid"),
    "document": ("corpus-id", "corpus_id", "doc_id", "docid", "docno", "pid"),
    "grade": ("score", "relevance", "grade", "rel", "label"),
}
_ITEM_NAMES = frozenset({"title", *TEXT_COLUMNS, *IMAGE_NAMES})
_READ = frozenset((
    *ID_NAMES["corpus"], *ID_NAMES["queries"], "title", *TEXT_COLUMNS, *IMAGE_NAMES,
    *(name for names in QRELS_NAMES.values() for name in names),
))  # fmt: skip
MAX_TEXT_BYTES = 64 * 1024 * 1024
_GRADE = re.compile(r"[+-]?[0-9]{1,9}(\.0*)?")
T = TypeVar("T")


@dataclass(frozen=True)
class ItemRow:
    """A query or document as its row states it; `images` are paths relative to the folder, or the encoded bytes.

    `unread` are the row's columns that MRB does not read.
    """

    place: str
    id: str
    title: str | None
    text: str | None
    images: tuple[str | bytes, ...]
    unread: Set[str] = frozenset()


@dataclass(frozen=True)
class QrelRow:
    """A judgement as its row states it."""

    place: str
    query_id: str
    doc_id: str
    grade: int


def iterate_items(paths: Sequence[Path], role: str) -> Iterator[ItemRow]:
    """Yield the rows of the tables of one role, `corpus` or `queries`, in order.

    Raises:
        DataError: Names file, line and column of what cannot be read, is no text, or is no id.
    """
    for place, row in _iterate_rows(paths, ID_NAMES[role]):
        id_name = _find_name(row, ID_NAMES[role], place)
        yield ItemRow(
            place,
            _read_id(row[id_name], place, id_name),
            _read_text(row.get("title"), place, "title"),
            _read_one(row, TEXT_COLUMNS, _read_text, place),
            _read_one(row, IMAGE_NAMES, _read_images, place) or (),
            row.keys() - _ITEM_NAMES - {id_name},
        )


def iterate_qrels(paths: Sequence[Path]) -> Iterator[QrelRow]:
    """Yield the judgements of a table with named columns, of TREC's four columns, or of three columns.

    Raises:
        DataError: Names file, line and column of an empty cell or a grade that is no whole number up to MAX_GRADE.
    """
    for place, row in _iterate_rows(paths, QRELS_NAMES["query"]):
        names = {role: _find_name(row, known, place) for role, known in QRELS_NAMES.items()}
        query_id = _read_id(row[names["query"]], place, names["query"])
        doc_id = _read_id(row[names["document"]], place, names["document"])
        yield QrelRow(place, query_id, doc_id, _read_grade(row[names["grade"]], place, names["grade"]))


def _iterate_rows(paths: Sequence[Path], id_names: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in paths:
        ending = path.suffix.lower()
        if ending in (".jsonl", ".json"):
            try:
                yield from ((str(path.parent / place), row) for place, row in iterate_objects([path]))
            except ValueError as error:
                raise DataError(f"{path.parent / to_one_line(error)}") from error
        elif ending == ".parquet":
            yield from _iterate_parquet(path, id_names)
        else:
            yield from _iterate_columns(path, id_names)


def _iterate_columns(path: Path, id_names: Sequence[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the rows of a text table. The first line names the columns, unless none of them is an id's name.

    Without names, two columns are id and text, three are a judgement, four are TREC's (the second is not read).
    """
    names: list[str] | None = None
    for line, cells in _iterate_cells(path):
        if names is None:
            stated = [cell.strip().removeprefix("\ufeff") for cell in cells]
            if set(stated) & set(id_names):
                if len(set(stated)) < len(stated):
                    raise DataError(f"{path}, line {line}: two columns have one name: {', '.join(stated)}")
                names = stated
                continue
            names = _name_columns(len(cells), id_names, f"{path}, line {line}")
        if len(cells) != len(names):
            raise DataError(f"{path}, line {line}: {len(cells)} columns, wanted {len(names)}: {', '.join(names)}")
        yield f"{path}, line {line}", dict(zip(names, cells, strict=True))


def _name_columns(count: int, id_names: Sequence[str], place: str) -> list[str]:
    """Return names for the columns of a table without a line of names."""
    query, document, grade = (known[0] for known in QRELS_NAMES.values())
    judged = tuple(id_names) == QRELS_NAMES["query"]
    known = {3: [query, document, grade], 4: [query, "iteration", document, grade]} if judged else {2: ["_id", "text"]}
    if count not in known:
        wanted = (
            "query-id, corpus-id, score; or TREC's four columns" if judged else f"{id_names[0]}, title, text, image"
        )
        raise DataError(f"{place}: {count} columns and no line of column names: wanted {wanted}")
    return known[count]


def _iterate_cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells). A .csv is read by the csv rules; elsewhere a tab separates, or white space without any tab,
    and quotes are ordinary characters, as in the files of TREC and MS MARCO."""
    is_csv = path.suffix.lower() == ".csv"
    try:
        with path.open(encoding="utf-8-sig", newline="" if is_csv else None) as file:
            yield from _iterate_csv(path, file) if is_csv else _iterate_lines(path, file)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _iterate_csv(path: Path, file: TextIO) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(file, strict=True)
    before = csv.field_size_limit(MAX_TEXT_BYTES)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    finally:
        csv.field_size_limit(before)


def _iterate_lines(path: Path, file: TextIO) -> Iterator[tuple[int, list[str]]]:
    tabs: bool | None = None
    for number, line in enumerate(iter(lambda: file.readline(MAX_TEXT_BYTES), ""), start=1):
        if len(line) >= MAX_TEXT_BYTES:
            raise DataError(f"{path}, line {number}: longer than {MAX_TEXT_BYTES} characters")
        if line.strip():
            tabs = "\t" in line if tabs is None else tabs
            yield number, line.rstrip("\r\n").split("\t") if tabs else line.split()


def _iterate_parquet(path: Path, id_names: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the rows of a parquet table, in pieces of a few rows, because a row may hold a large image.

    Only columns that mean something are read: another may hold what no Python value can. It is None in the rows.
    """
    number = 0
    try:
        with open_untrusted(path, DataError, max_bytes=MAX_TABLE_BYTES) as file:
            names = dict.fromkeys(file.schema_arrow.names)
            _find_name(names, id_names, str(path))
            others = dict.fromkeys(name for name in names if name not in _READ)
            for batch in file.iter_batches(100, columns=[name for name in names if name in _READ]):
                batch.validate(full=True)
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", {**others, **row}
    except (ValueError, OverflowError) as error:  # a time that Python has no type for
        raise DataError(f"{path}: rows {number + 1} to {number + 100}: {to_one_line(error)}") from error


def _find_name(row: Mapping[str, Any], known: Sequence[str], place: str) -> str:
    name = next((name for name in known if name in row), None)
    if name is None:
        found = to_one_line(", ".join(map(str, row)), 120) or "none"
        raise DataError(f"{place}: columns found: {found}; wanted one of: {', '.join(known)}")
    return name


def _read_id(value: object, place: str, name: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, Real) or not isinstance(value, str):
        raise DataError(f"{place}, column {name}: {_show(value)}, an id is a text or a whole number")
    if not value.strip():
        raise DataError(f"{place}, column {name}: the id is empty")
    if not value.isprintable():
        raise DataError(f"{place}, column {name}: the id {_show(value)} has control characters")
    return value


def _read_text(value: object, place: str, name: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise DataError(f"{place}, column {name}: {_show(value)}, wanted a text")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise DataError(f"{place}, column {name}: {error}") from None
    if size > MAX_TEXT_BYTES:
        raise DataError(f"{place}, column {name}: a text of {size} bytes, more than {MAX_TEXT_BYTES}")
    return str(value)


def _read_one(
    row: Mapping[str, Any], names: Sequence[str], read: Callable[[object, str, str], T], place: str
) -> T | None:
    """Return the value of the only one of the columns that has one; columns with the same value are one."""
    found = {name: value for name in names if name in row and (value := read(row[name], place, name))}
    if len(set(found.values())) > 1:
        raise DataError(f"{place}: columns {' and '.join(found)} hold different values; keep one of them")
    return next(iter(found.values()), None)


def _read_images(value: object, place: str, name: str) -> tuple[str | bytes, ...]:
    """Return the images of a row: a path, several, or the Hub's image feature with the encoded bytes."""
    if isinstance(value, list):
        if len(value) > MOST_IMAGES:
            raise DataError(f"{place}, column {name}: {len(value)} images, more than {MOST_IMAGES}")
        return tuple(image for one in value for image in _read_images(one, place, name))
    if isinstance(value, dict):
        encoded = value.get("bytes")
        if isinstance(encoded, bytes):
            return (encoded,)
        if encoded is not None:
            raise DataError(
                f"{place}, column {name}: bytes is {_show(encoded)}, wanted encoded bytes, which parquet can hold; "
                "elsewhere name the file of the image"
            )
        if value.get("path") is None:
            return ()
        value = value["path"]
    if value is None or value == "":
        return ()
    if not isinstance(value, str) or isinstance(value, Real):
        raise DataError(f"{place}, column {name}: {_show(value)}, wanted the path of an image in the folder")
    return (value,)


def _read_grade(value: object, place: str, name: str) -> int:
    text = value.strip() if isinstance(value, str) else str(value)
    if isinstance(value, bool) or not _GRADE.fullmatch(text):
        raise DataError(f"{place}, column {name}: the grade is {_show(value)}, wanted a whole number")
    grade = int(float(text))
    if grade > MAX_GRADE:
        raise DataError(f"{place}, column {name}: grade {grade} is over {MAX_GRADE}")
    return grade


def _show(value: object) -> str:
    return to_one_line(json.dumps(value, ensure_ascii=False, default=repr), 80)
