"""Read a data folder once into Arrow files of MRB's cache, with the hash of its content.

The tables have the columns of the Hub's data sets, so that one reader (`mrb.data.tables`) makes the items of all tasks,
and two for errors: `place`, and `files`, the file of each image (the place again if the row itself holds the image).
They are memory-mapped: a worker process reads the images that it needs. The cache is `<cache>/folders/<key>/`: the key
is over the folder and the names, sizes and times of its tables, and `record.json` holds those of the images that rows
name. A changed file is read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import pyarrow as pa
import pyarrow.ipc
from pydantic import ValidationError

from mrb._util.files import open_atomically, read_json, write_json
from mrb._util.hashing import dump_canonical_json, hash_bytes, hash_json, hash_lines
from mrb._util.model import Model
from mrb.data.folder_files import FolderFiles, resolve_inside
from mrb.data.folder_rows import ItemRow, iterate_items, iterate_qrels
from mrb.data.images import ImageCaps, read_header
from mrb.data.task_fields import Sha256
from mrb.errors import DataError, ResultError, to_one_line
from mrb.hub.manifest import find_cache_root

VERSION = "mrb-folder-v1"
"""Part of the content hash, and of the cache's key: a new way of reading makes another hash."""
Role = Literal["queries", "corpus"]
ROLES: tuple[Role, ...] = ("queries", "corpus")
RECORD_FILE = "record.json"
MAX_COLUMNS = 100
MAX_RECORD_BYTES = 1024 * 1024 * 1024
BATCH_BYTES = 32 * 1024 * 1024
BATCH_ROWS = 10_000
_TEXTS = [*((name, pa.string()) for name in ("_id", "title", "text", "place")), ("files", pa.list_(pa.string()))]
ITEM_SCHEMA = pa.schema([*_TEXTS, ("image", pa.binary())])
SEVERAL_SCHEMA = pa.schema([*_TEXTS, ("image", pa.list_(pa.binary()))])
"""The schema of a table in which an item has several images."""
QRELS_SCHEMA = pa.schema(
    [("query-id", pa.string()), ("corpus-id", pa.string()), ("score", pa.int64()), ("place", pa.string())]
)


Stamp = tuple[int, int, int, int]
"""What a change of a file changes (`_stamp`)."""


class ItemNotes(Model):
    """What the items of one role do not show.

    `unread` are the columns that MRB does not read, MAX_COLUMNS at most. `empty` items have neither text nor image;
    `first_empty` is the place of the first. `left_out` image files belong to no item; `first_left_out` is the path of
    the first in the folder.
    """

    unread: tuple[str, ...] = ()
    empty: int = 0
    first_empty: str = ""
    left_out: int = 0
    first_left_out: str = ""


@dataclass(frozen=True)
class FolderTables:
    """The tables of a data folder (ITEM_SCHEMA or SEVERAL_SCHEMA, QRELS_SCHEMA), the SHA-256 of their content, and
    what was noticed on the way.

    The hash is over ids, titles, texts, encoded images and judgements, in order. So it does not depend on the layout or
    the format of the files.
    """

    queries: pa.Table
    corpus: pa.Table
    qrels: pa.Table
    content: str
    notes: Mapping[Role, ItemNotes]


class _Record(Model):
    """What a folder held: the content's hash, notes, and the stamp of each image that a row names."""

    schema_version: Literal[3] = 3
    content: Sha256
    notes: dict[Role, ItemNotes]
    images: dict[str, Stamp]


def read_folder_tables(files: FolderFiles, caps: ImageCaps) -> FolderTables:
    """Return the tables of a data folder, from the cache if no file has changed.

    Args:
        files: The folder's files.
        caps: The limits of one image.

    Raises:
        DataError: Names file, line and column of what is wrong.
        ResultError: The cache cannot be written.
    """
    stamps = {path.relative_to(files.folder).as_posix(): _stamp(path) for path in files.tables}
    key = hash_json([VERSION, str(files.folder.resolve()), stamps])
    cache = find_cache_root() / "folders" / key[:32]
    record = _read_record(cache, files.folder)
    if record is None:
        record = _build(files, caps, cache)
    tables = {name: _map_table(cache / f"{name}.arrow") for name in ("queries", "corpus", "qrels")}
    return FolderTables(tables["queries"], tables["corpus"], tables["qrels"], record.content, record.notes)


def _build(files: FolderFiles, caps: ImageCaps, cache: Path) -> _Record:
    """Read all files, write the cache, the record last, and return it.

    An old record goes first: after a build that fails or is killed it would vouch for the new tables.
    """
    try:
        (cache / RECORD_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise ResultError(f"{cache / RECORD_FILE}: cannot be removed: {error.strerror}") from error
    images: dict[str, Stamp] = {}
    notes: dict[Role, ItemNotes] = {}
    digests = []
    for role in ROLES:
        reader = _ItemReader(files, role, caps, images, notes)
        path = cache / f"{role}.arrow"
        try:
            digests.append(_write_items(path, reader, ITEM_SCHEMA))
        except _SeveralImagesError:  # a column of single images is read without a list for each, so it is tried first
            digests.append(_write_items(path, reader, SEVERAL_SCHEMA))
    with open_atomically(cache / "qrels.arrow", durable=False) as file:
        digests.append(hash_lines(_write_qrels(file, files.qrels)))
    record = _Record(content=hash_json([VERSION, *digests]), notes=notes, images=images)
    write_json(cache / RECORD_FILE, record.model_dump(mode="json"))
    return record


@dataclass(frozen=True)
class _ItemReader:
    """Reads the items of one role with their images.

    It puts the images that rows name into `named`, and what the items do not show into `notes`.
    """

    files: FolderFiles
    role: Role
    caps: ImageCaps
    named: dict[str, Stamp]
    notes: dict[Role, ItemNotes]

    def __iter__(self) -> Iterator[tuple[ItemRow, tuple[bytes, ...], tuple[str, ...]]]:
        """Yield each item with its encoded images and their files (the row's place for an image in the row)."""
        beside = {path.stem: path for path in self._check_stems()}
        paths = getattr(self.files, self.role)
        taken: set[str] = set()
        unread: dict[str, None] = {}
        empty, first_empty = 0, ""
        for row in iterate_items(paths, self.role):
            images = tuple(self._read(image, row.place) for image in row.images)
            names = tuple(image if isinstance(image, str) else row.place for image in row.images)
            if not images and row.id in beside:
                images, names = (self._open(beside[row.id], row.place),), (self._name(beside[row.id]),)
                taken.add(row.id)
            if row.unread and len(unread) < MAX_COLUMNS:
                unread.update(dict.fromkeys(to_one_line(name, 60) for name in sorted(row.unread)))
            if not images and not (row.title or "").strip() and not (row.text or "").strip():
                empty, first_empty = empty + 1, first_empty or row.place
            yield row, images, names
        if not paths:
            for stem, path in beside.items():
                item = ItemRow(str(path), stem, None, None, ())
                yield item, (self._open(path, str(path)),), (self._name(path),)
            taken.update(beside)
        left = [path for stem, path in beside.items() if stem not in taken and not self._is_named(path)]
        if left and len(left) == len(beside):
            raise DataError(
                f"{left[0]}: no id of the {self.role} is {left[0].stem!r}, and no row names an image of this "
                "folder; an image is named after its item's id, or a column `image` names it"
            )
        self.notes[self.role] = ItemNotes(
            unread=tuple(unread)[:MAX_COLUMNS],
            empty=empty,
            first_empty=first_empty,
            left_out=len(left),
            first_left_out=self._name(left[0]) if left else "",
        )

    def _is_named(self, path: Path) -> bool:
        """Return whether a row of this role, or of the role before, names the image."""
        return self._name(path) in self.named

    def _name(self, path: Path) -> str:
        return path.relative_to(self.files.folder).as_posix()

    def _check_stems(self) -> Sequence[Path]:
        found: dict[str, Path] = {}
        for path in self.files.images[self.role]:
            other = found.setdefault(path.stem, path)
            if other is not path:
                raise DataError(f"{path}: id {path.stem!r} occurs twice; {other.name} has it too")
        return list(found.values())

    def _read(self, image: str | bytes, place: str) -> bytes:
        if isinstance(image, bytes):
            return self._check(image, place)
        path = resolve_inside(self.files.folder, image, place)
        self.named[self._name(path)] = _stamp(path)
        return self._open(path, f"{place}, column image")

    def _open(self, path: Path, place: str) -> bytes:
        path = resolve_inside(self.files.folder, self._name(path), place)
        size = path.stat().st_size
        if size > self.caps.max_bytes:
            raise DataError(f"{place}: {path.name} has {size} bytes, an image may have {self.caps.max_bytes}")
        try:
            return self._check(path.read_bytes(), f"{place}: {path.name}")
        except OSError as error:
            raise DataError(f"{place}: {path.name} cannot be read: {error.strerror}") from error

    def _check(self, encoded: bytes, place: str) -> bytes:
        if len(encoded) > self.caps.max_bytes:
            raise DataError(f"{place}: image of {len(encoded)} bytes, one may have {self.caps.max_bytes}")
        read_header(encoded, self.caps, place)
        return encoded


class _SeveralImagesError(Exception):
    """An item has several images, which the column of single images cannot hold."""


def _write_items(path: Path, reader: _ItemReader, schema: pa.Schema) -> str:
    """Write the items to `path`, and return the hash of their content.

    Raises _SeveralImagesError if the schema has room for one image and an item has more.
    """
    with open_atomically(path, durable=False) as file:
        return hash_lines(_write_batches(file, reader, schema))


def _write_batches(file: IO[bytes], reader: _ItemReader, schema: pa.Schema) -> Iterator[bytes]:
    columns: list[list[object]] = [[] for _ in schema]
    held = 0
    with pa.ipc.new_file(file, schema) as writer:
        for row, images, names in reader:
            cell: object = list(images) or None
            if schema is ITEM_SCHEMA:
                if len(images) > 1:
                    raise _SeveralImagesError
                cell = images[0] if images else None
            for column, value in zip(columns, (row.id, row.title, row.text, row.place, names, cell), strict=True):
                column.append(value)
            held += sum(map(len, images)) + len(row.text or "")
            yield dump_canonical_json([row.id, row.title or "", row.text or "", *map(hash_bytes, images)])
            if held > BATCH_BYTES or len(columns[0]) >= BATCH_ROWS:
                writer.write(_make_batch(columns, schema))
                columns, held = [[] for _ in schema], 0
        writer.write(_make_batch(columns, schema))


def _write_qrels(file: IO[bytes], paths: Sequence[Path]) -> Iterator[bytes]:
    columns: list[list[object]] = [[] for _ in QRELS_SCHEMA]
    with pa.ipc.new_file(file, QRELS_SCHEMA) as writer:
        for row in iterate_qrels(paths):
            for column, value in zip(columns, (row.query_id, row.doc_id, row.grade, row.place), strict=True):
                column.append(value)
            yield dump_canonical_json([row.query_id, row.doc_id, row.grade])
            if len(columns[0]) >= BATCH_ROWS:
                writer.write(_make_batch(columns, QRELS_SCHEMA))
                columns = [[] for _ in QRELS_SCHEMA]
        writer.write(_make_batch(columns, QRELS_SCHEMA))


def _make_batch(columns: Sequence[Sequence[object]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _map_table(path: Path) -> pa.Table:
    """Return a table of the cache, memory-mapped."""
    try:
        with ExitStack() as stack:
            source = stack.enter_context(pa.memory_map(str(path)))
            return stack.enter_context(pa.ipc.open_file(source)).read_all()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: MRB's cache is damaged; remove the folder {path.parent}") from error


def _read_record(cache: Path, folder: Path) -> _Record | None:
    """Return the record of the cache if it is there and every image that it names is unchanged."""
    if not (cache / RECORD_FILE).is_file():
        return None
    try:
        record = _Record.model_validate(read_json(cache / RECORD_FILE, limit=MAX_RECORD_BYTES))
        same = all(_stamp(folder / name) == stamp for name, stamp in record.images.items())
    except (ResultError, DataError, ValidationError):
        return None
    return record if same else None


def _stamp(path: Path) -> Stamp:
    """Return size, times of change (ns) and number of a file. A program can set the first time, as `cp -p` does, but
    not the second."""
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino
