"""Files of groups: JSON lines or Parquet, one group per row, read one at a time.

A row has `instruction`, `source`, `query`, `positives` and `negatives`. A document is an object with `text`, `image`,
`id`, and for a mined negative `rank` and `score`; all are optional. An image is a path relative to the file's folder
and inside it, or its encoded bytes (base64 in JSON lines).
"""

from __future__ import annotations

import base64
import binascii
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mrb._util.files import compute_unpacked_limit, load_json, open_atomically
from mrb._util.hashing import hash_file
from mrb._util.parquet import open_untrusted
from mrb.data.items import ImageHandle, Item
from mrb.errors import DataError, MRBError, TrainingError, format_first_problem, to_one_line
from mrb.hub.manifest import find_cache_root
from mrb.training.data.group import TrainingGroup, TrainingItem

Form = Literal["jsonl", "parquet"]
ROWS_AT_ONCE = 64
MAX_LINE_BYTES = 256 * 1024 * 1024
MAX_FOOTER_BYTES = 128 * 1024 * 1024
"""Images make groups large, so a file has many small row groups, and a large footer."""

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_ITEM = pa.struct(
    [("text", pa.string()), ("image", _IMAGE), ("id", pa.string()), ("rank", pa.int32()), ("score", pa.float32())]
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


class _Image(_Row):
    encoded: Annotated[str | bytes | None, Field(alias="bytes")] = None
    path: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _path(cls, given: Any) -> Any:
        return {"path": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _either(self) -> _Image:
        if (self.encoded is None) == (self.path is None):
            raise ValueError("an image is a path or bytes, one of the two")
        return self


class _Item(_Row):
    text: str | None = None
    image: _Image | None = None
    id: str | None = None
    rank: Annotated[int, Field(ge=1)] | None = None
    score: Annotated[float, Field(allow_inf_nan=False)] | None = None


class _Group(_Row):
    instruction: str | None = None
    source: str = Field(min_length=1, max_length=200)
    query: _Item
    positives: list[_Item] = Field(min_length=1)
    negatives: list[_Item] = Field(min_length=1)


class GroupFile:
    """The groups of a file, by row. A row is read when it is accessed, its images when they are opened.

    `sources` holds each row's source. Images outside the file's folder are refused, so that an untrusted file reads
    nothing else.

    Args:
        path: The file; opening it reads every row once.

    Raises:
        TrainingError: Names the first row that is not a group.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise TrainingError(f"{path}: no such file of groups; `mrb train data` makes one")
        self.folder = path.parent.resolve()
        self.sha256 = hash_file(path)
        form = find_form(path)
        self._rows: _JsonRows | _ParquetRows = _JsonRows(path) if form == "jsonl" else _ParquetRows(path, self.sha256)
        self.sources = [self._check(row).source for row in range(len(self._rows))]
        if not self.sources:
            raise TrainingError(f"{path}: holds no group")

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, row: int) -> TrainingGroup:
        found = self._check(row)
        return TrainingGroup(
            instruction=found.instruction or "",
            source=found.source,
            query=self._item(row, found.query),
            positives=tuple(self._item(row, item) for item in found.positives),
            negatives=tuple(self._item(row, item) for item in found.negatives),
        )

    def __iter__(self) -> Iterator[TrainingGroup]:
        return (self[row] for row in range(len(self)))

    def _where(self, row: int) -> str:
        """Return the name of a row for errors."""
        return f"{self.path}, row {row + 1}"

    def locate_error(self, row: int, error: MRBError) -> MRBError:
        """Return the error with file and row before its message, unless it has them."""
        return error if str(error).startswith(self._where(row)) else error.at(self._where(row))

    def _check(self, row: int) -> _Group:
        try:
            return _Group.model_validate(self._rows[row])
        except ValidationError as error:
            raise TrainingError(f"{self._where(row)}: not a group: {format_first_problem(error)}") from error

    def _item(self, row: int, found: _Item) -> TrainingItem:
        # A data loader's worker sends its images to the trainer: they can be pickled.
        image = None if found.image is None else self._image(row, found.image)
        if image is None and not found.text:
            raise TrainingError(f"{self._where(row)}: an item with neither text nor image")
        return TrainingItem(Item(found.text or "", image), found.id or "", found.rank, found.score)

    def _image(self, row: int, image: _Image) -> ImageHandle:
        if image.path is not None:
            place = self._resolve(row, image.path)
            return ImageHandle(partial(_read, place), where=f"{self._where(row)}, image {image.path}")
        data = image.encoded
        if isinstance(data, str):
            try:
                data = base64.b64decode(data, validate=True)
            except binascii.Error as error:
                raise TrainingError(f"{self._where(row)}: the bytes of an image are not base64: {error}") from error
        return ImageHandle(partial(bytes, data or b""), where=f"{self._where(row)}, an image given as bytes")

    def _resolve(self, row: int, path: str) -> Path:
        place = (self.folder / path).resolve()
        if Path(path).is_absolute() or not place.is_relative_to(self.folder):
            raise TrainingError(
                f"{self._where(row)}: image {to_one_line(path, 80)!r} lies outside {self.folder}; "
                "paths are relative to the file's folder and stay inside it"
            )
        return place


def find_form(path: Path) -> Form:
    """Return the format by the file's suffix. Raises TrainingError for another suffix."""
    if path.suffix == ".jsonl":
        return "jsonl"
    if path.suffix == ".parquet":
        return "parquet"
    raise TrainingError(f"{path}: a file of groups ends in .jsonl or .parquet")


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
        return {"id": one.id, "text": one.item.text, **image, **mined}

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
        while some := list(islice(rows, ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(some, schema=SCHEMA))
            count += len(some)
    return count


def _decode_base64(value: object) -> str:
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


class _JsonRows:
    """The lines of a file, accessed by their byte offsets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._starts: list[int] = []
        self._lengths: list[int] = []
        at = 0
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                if len(line) > MAX_LINE_BYTES:
                    raise TrainingError(f"{path}, row {len(self._starts) + 1}: longer than {MAX_LINE_BYTES} bytes")
                if line.strip():
                    self._starts.append(at)
                    self._lengths.append(len(line))
                at += len(line)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, row: int) -> Mapping[str, Any]:
        with self.path.open("rb") as file:
            file.seek(self._starts[row])
            line = file.read(self._lengths[row])
        try:
            content = load_json(line)
        except ValueError as error:
            raise TrainingError(f"{self.path}, row {row + 1}: not JSON: {to_one_line(error)}") from error
        if not isinstance(content, dict):
            raise TrainingError(f"{self.path}, row {row + 1}: not a JSON object")
        return content


def _unpack(path: Path, unpacked: Path) -> None:
    left = limit = compute_unpacked_limit(path.stat().st_size)
    with (
        open_untrusted(path, TrainingError, max_bytes=sys.maxsize, max_footer=MAX_FOOTER_BYTES) as file,
        open_atomically(unpacked) as out,
        pa.ipc.new_file(out, file.schema_arrow) as writer,
    ):
        for batch in file.iter_batches(ROWS_AT_ONCE):
            left -= batch.nbytes
            if left < 0:
                raise TrainingError(f"{path}: more than {limit} bytes when unpacked, too much for a file of its size")
            writer.write_batch(batch)


class _ParquetRows:
    """The rows of a Parquet file, unpacked once into MRB's cache and memory-mapped: Parquet has no access to single
    rows.
    """

    def __init__(self, path: Path, sha256: str) -> None:
        self.path = path
        unpacked = find_cache_root() / "groups" / f"{sha256}.arrow"
        try:
            if not unpacked.is_file():
                _unpack(path, unpacked)
            self._table = pa.ipc.open_file(pa.memory_map(str(unpacked))).read_all()
        except (pa.ArrowException, OSError) as error:
            raise TrainingError(f"{path}: cannot be read: {to_one_line(error)}") from error

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, row: int) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._table.slice(row, 1).to_pylist()[0]
        return found
