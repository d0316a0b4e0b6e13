"""Files of groups: JSON lines or Parquet, one group per row, read one at a time.

A row has `instruction`, `source`, `query`, `positives` and `negatives`. A document is an object with `text`, `image`,
`id`, for a mined negative `rank` and `score`, `grade`, and `teacher`, the score of a teacher; all are optional. An
image is a path relative to the file's folder and inside it, or its encoded bytes (base64 in JSON lines).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mrb._util.files import open_atomically
from mrb.data.items import ImageHandle, Item
from mrb.errors import DataError, MRBError, TrainingError, format_first_problem, to_one_line
from mrb.metrics.measures import MAX_GRADE
from mrb.training.data.group import TrainingGroup, TrainingItem
from mrb.training.data.rows import ROWS_AT_ONCE, STRETCH_BYTES, Starts, find_form, open_rows

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_ITEM = pa.struct(
    [
        ("text", pa.string()),
        ("image", _IMAGE),
        ("id", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("grade", pa.int32()),
        ("teacher", pa.float32()),
    ]
)
SCHEMA = pa.schema(
    [
        ("instruction", pa.string()),
        ("source", pa.string()),
        ("query", _ITEM),
        ("positives", pa.list_(_ITEM)),
        ("negatives", pa.list_(_ITEM)),
    ]
)


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageRow(_Row):
    """An image in a row: its path, or its bytes."""

    encoded: Annotated[str | bytes | None, Field(alias="bytes")] = None
    path: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _path(cls, given: Any) -> Any:
        return {"path": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _either(self) -> ImageRow:
        if (self.encoded is None) == (self.path is None):
            raise ValueError("an image is a path or bytes, one of the two")
        if self.path is not None and _climbs(self.path):
            raise _refuse_outside(self.path)
        return self


class ItemRow(_Row):
    """A query or a document in a row."""

    text: str | None = None
    image: ImageRow | None = None
    id: str | None = None
    rank: Annotated[int, Field(ge=1)] | None = None
    score: Annotated[float, Field(allow_inf_nan=False)] | None = None
    grade: Annotated[int, Field(ge=0, le=MAX_GRADE)] | None = None
    teacher: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _some(self) -> ItemRow:
        if self.image is None and not self.text:
            raise ValueError("an item with neither text nor image")
        return self


class GroupRow(_Row):
    """A row of a file of groups."""

    instruction: str | None = None
    source: str = Field(min_length=1, max_length=200)
    query: ItemRow
    positives: list[ItemRow] = Field(min_length=1)
    negatives: list[ItemRow]

    @property
    def items(self) -> list[ItemRow]:
        """The query and all documents, positives first."""
        return [self.query, *self.positives, *self.negatives]


class GroupFile:
    """The groups of a file, by row. A row is read when it is accessed, its images when they are opened.

    Images outside the file's folder are refused, so that an untrusted file reads nothing else.

    Args:
        path: The file.
        starts: Where its rows start (`find_starts`), if that is known; else the file is read once.
        first: The row that starts at `starts[0]`, if they are of a part of the file.

    Raises:
        TrainingError: Names the file, or the row that is accessed and is not a group.
    """

    def __init__(self, path: Path, starts: Starts | None = None, first: int = 0) -> None:
        self.path = path
        if not path.is_file():
            raise TrainingError(f"{path}: no such file of groups; `mrb train data` makes one")
        self.folder = path.parent.resolve()
        self.rows = open_rows(path, starts, first)
        if not len(self.rows):
            raise TrainingError(f"{path}: holds no group")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> TrainingGroup:
        found = self.read_row(row)
        where = self._where(row)
        return TrainingGroup(
            instruction=found.instruction or "",
            source=found.source,
            query=self._item(where, found.query),
            positives=tuple(self._item(where, item) for item in found.positives),
            negatives=tuple(self._item(where, item) for item in found.negatives),
        )

    def __iter__(self) -> Iterator[TrainingGroup]:
        return (self[row] for row in range(len(self)))

    def read_row(self, row: int) -> GroupRow:
        """Return a row as it is in the file."""
        try:
            return GroupRow.model_validate(self.rows[row])
        except ValidationError as error:
            raise TrainingError(f"{self._where(row)}: not a group: {format_first_problem(error)}") from error

    def _where(self, row: int) -> str:
        """Return the name of a row for errors."""
        return f"{self.path}, row {row + 1}"

    def locate_error(self, row: int, error: MRBError) -> MRBError:
        """Return the error with file and row before its message, unless it has them."""
        return error if str(error).startswith(self._where(row)) else error.at(self._where(row))

    def _item(self, where: str, found: ItemRow) -> TrainingItem:
        image = None if found.image is None else open_image(self.folder, found.image, f"{where}, ")
        return TrainingItem(
            Item(found.text or "", image), found.id or "", found.rank, found.score, found.grade, found.teacher
        )


def open_image(folder: Path, image: ImageRow, where: str = "") -> ImageHandle:
    """Return an image of a file in `folder`, which must be resolved. Nothing of it is read or decoded yet.

    `where` begins its name in errors.
    """
    # A data loader's worker sends its images to the trainer: they can be pickled.
    if image.path is None:
        where = f"{where}an image given as bytes"
        return ImageHandle(partial(_decode, image.encoded or b"", where), where=where)
    where = f"{where}image {image.path}"
    return ImageHandle(partial(_read, folder, image.path, where), where=where)


def find_group_files(names: Sequence[str]) -> list[Path]:
    """Return the files of groups that `names` stand for: files, patterns (`own/p*.jsonl`) and folders, in order.

    The files of a pattern or folder are sorted by name; a folder stands for the `.jsonl` and `.parquet` files in it.

    Raises:
        TrainingError: Nothing is found for a name, or a file is found twice.
    """
    found: dict[Path, tuple[Path, str]] = {}
    for name in names:
        if Path(name).is_dir():
            some = sorted(path for path in Path(name).iterdir() if path.suffix in (".jsonl", ".parquet"))
        else:
            whole = Path(name)
            some = [whole] if whole.is_file() else sorted(Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))))
        if not some:
            raise TrainingError(f"{name}: no such file of groups; `mrb train data` makes one")
        for path in some:
            if (place := path.resolve()) in found:
                raise TrainingError(
                    f"{path}: is in both {found[place][1]!r} and {name!r}; name each file of groups once"
                )
            found[place] = path, name
    return [path for path, _ in found.values()]


def write_groups(path: Path, groups: Iterable[TrainingGroup], *, embed: bool = False) -> int:
    """Write groups to a file atomically.

    Args:
        path: The file; its suffix decides between JSON lines and Parquet.
        groups: The groups.
        embed: Whether images go into the file itself, not into `images/` next to it, one file per content.

    Returns:
        The number of groups.

    Raises:
        TrainingError: The suffix is another one.
    """
    form = find_form(path)

    def store(image: ImageHandle) -> str | dict[str, bytes] | dict[str, str]:
        if embed:
            return {"bytes": image.encoded}
        place = Path("images", image.sha256[:2], image.sha256)
        if not (path.parent / place).is_file():
            with open_atomically(path.parent / place) as file:
                file.write(image.encoded)
        return place.as_posix() if form == "jsonl" else {"path": place.as_posix()}

    def item(one: TrainingItem) -> dict[str, Any]:
        image = {} if one.item.image is None else {"image": store(one.item.image)}
        mined = {} if one.rank is None else {"rank": one.rank, "score": one.score}
        taught = {name: value for name in ("grade", "teacher") if (value := getattr(one, name)) is not None}
        return {"id": one.id, "text": one.item.text, **image, **mined, **taught}

    rows = (
        {
            "instruction": group.instruction,
            "source": group.source,
            "query": item(group.query),
            "positives": [item(one) for one in group.positives],
            "negatives": [item(one) for one in group.negatives],
        }
        for group in groups
    )
    return _write_jsonl(path, rows) if form == "jsonl" else _write_parquet(path, rows)


def _write_jsonl(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with open_atomically(path) as file:
        for count, row in enumerate(rows, start=1):  # noqa: B007
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False, default=_decode_base64).encode() + b"\n")
    return count


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with open_atomically(path) as file, pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for some in _split_rows(rows):
            writer.write_table(pa.Table.from_pylist(some, schema=SCHEMA))
            count += len(some)
    return count


def _split_rows(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each row group: few, because a row is read with its row group."""
    some: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        some.append(row)
        items = (row["query"], *row["positives"], *row["negatives"])
        size += sum(len(item["text"]) + len(item.get("image", {}).get("bytes", b"")) for item in items)
        if len(some) == ROWS_AT_ONCE or size > STRETCH_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _decode_base64(value: object) -> str:
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()


def _decode(data: str | bytes, where: str) -> bytes:
    if isinstance(data, bytes):
        return data
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise DataError(f"{where}: not base64: {error}") from error


def _read(folder: Path, path: str, where: str) -> bytes:
    try:
        place = (folder / path).resolve()
        if place.is_relative_to(folder):  # it may be a link
            return place.read_bytes()
    except OSError as error:
        raise DataError(f"{where}: cannot be read: {error.strerror}") from error
    raise DataError(f"{where}: {_refuse_outside(path)}")


def _climbs(path: str) -> bool:
    return (
        path.startswith(("/", "\\"))
        or "\0" in path
        or (".." in path and Path(os.path.normpath(path)).parts[:1] == ("..",))
    )


def _refuse_outside(path: str) -> ValueError:
    return ValueError(
        f"image {to_one_line(path, 80)!r} lies outside the file's folder; paths are relative to it and stay inside it"
    )
