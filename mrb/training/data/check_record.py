"""What a check of a file of groups found: a record, and arrays over its rows, so that no start repeats the check.

`NAME.check.json` and `NAME.check.npz` are next to the file, or in MRB's cache if its folder cannot be written to. They
hold for one content of the file and one index of test data, and for every other index that differs in nothing that the
file shares with it.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from mrb._util.files import open_atomically, read_json, write_json
from mrb._util.format import format_count
from mrb._util.hashing import hash_file, hash_json
from mrb._util.model import Model
from mrb.data.task_fields import Sha256
from mrb.errors import TrainingError, format_first_problem, to_one_line
from mrb.hub.manifest import find_cache_root
from mrb.training.data.contamination import Dropped, HeldOutIndex, Keys, format_dropped
from mrb.training.data.rows import Starts

LAYOUT = 2
"""Part of the name of a check: incremented when its arrays change."""
USABLE, NO_NEGATIVES, TEST_DATA, BAD = range(4)
"""The states of a row."""
LISTED = 20
"""Number of bad and of doubtful rows that a record lists; it counts all of them."""


class CheckRecord(Model):
    """The record of a check.

    `checked` is the identity of the index of test data, `tasks` has those of its tasks. `bad` rows cannot be trained
    on, `problems` says why, for the first of them; `doubtful` lists the first rows with a document that is both
    positive and negative (`contradictory` in all), or twice a positive (`doubled`). Both begin with the row, without
    the file, whose path a record must not hold. `seconds` is the time of the check, by `processes`.
    """

    schema_version: Literal[1] = 1
    sha256: Sha256
    size: int
    modified: int
    checked: Sha256
    tasks: dict[str, Sha256] = Field(default={})
    groups: int
    images: int
    sources: tuple[str, ...]
    no_negatives: int
    dropped: Dropped
    bad: int
    problems: tuple[str, ...]
    contradictory: int
    doubled: int
    doubtful: tuple[str, ...]
    seconds: float
    processes: int


@dataclass(frozen=True)
class RowTable:
    """What is known of each row.

    `starts` says where the rows start (`find_starts`), `sources` int32[rows] the number of each row's source in
    `CheckRecord.sources`, `states` uint8[rows] whether it can be used, `lengths` float32[rows, 2] how many characters
    and images query and document have together, the mean over documents. The documents that are test data are the
    `places` int32[hits] (from 0, positives first) of the `rows` int64[hits], sorted.
    """

    starts: Starts
    sources: npt.NDArray[np.int32]
    states: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]
    places: npt.NDArray[np.int32]


def read_check(path: Path, index: HeldOutIndex) -> tuple[CheckRecord, RowTable] | None:
    """Return what a check of this content of `path` found that holds for this index; None if there was none.

    The file is hashed only if its size is that of the record and its time of change is not. Of another index, only the
    tasks that differ are looked at.

    Raises TrainingError if a record is damaged.
    """
    status = path.stat()
    for place in (path.parent, _find_cache(path)):
        record = _read_record(place / f"{path.stem}.check.json")
        if record is None or record.size != status.st_size or not _may_hold(record, index):
            continue
        if record.modified != status.st_mtime_ns:
            if hash_file(path) != record.sha256:
                continue
            record = record.model_copy(update={"modified": status.st_mtime_ns})
            write_json(_find_place(path) / f"{path.stem}.check.json", record.model_dump(mode="json"))
        found = _read_table(place / f"{path.stem}.check.npz", _name_check(record))
        if found is None:
            continue
        table, keys = found
        if record.checked != index.identity:
            if keys is None or any(index.shares(task, keys) for task in _list_changed(record, index)):
                continue
            record = record.model_copy(update={"checked": index.identity, "tasks": index.identities})
            write_check(path, record, table, keys)
        return record, table
    return None


def write_check(path: Path, record: CheckRecord, table: RowTable, keys: Keys | None) -> None:
    """Write what a check of `path` found; `keys` are those of its items, if they were compared."""
    place = _find_place(path)
    arrays: dict[str, Any] = vars(table) | ({} if keys is None else {"keys": keys})
    with open_atomically(place / f"{path.stem}.check.npz") as file:
        np.savez(file, check=np.asarray(_name_check(record)), **arrays)
    write_json(place / f"{path.stem}.check.json", record.model_dump(mode="json"))


def format_check(path: Path, record: CheckRecord, *, before: bool) -> Iterator[str]:
    """Yield the record in a few lines; `before` says that the check was not made now."""
    how = "checked before"
    if not before:
        # The plural of process ends in es.
        how = f"{record.seconds:,.1f} s, {record.processes} process{'' if record.processes == 1 else 'es'}"
    yield f"{path}: {format_count(record.groups, 'group')}, {format_count(record.images, 'image file')} ({how})"
    yield from format_dropped(record.dropped)
    yield (
        f"  {format_count(record.no_negatives, 'group')} without negatives (left out if the loss compares documents), "
        f"{record.contradictory} with a document that is both positive and negative, {record.doubled} with a positive "
        "twice"
    )
    yield from (f"  {path}, {line}" for line in record.doubtful)
    if record.bad:
        yield f"  {format_count(record.bad, 'group')} cannot be trained on:"
        yield from (f"  {path}, {line}" for line in record.problems)


def _list_changed(record: CheckRecord, index: HeldOutIndex) -> set[str]:
    """Return the tasks that are new, changed or gone since a check."""
    return {task for task, _ in record.tasks.items() ^ index.identities.items()}


def _may_hold(record: CheckRecord, index: HeldOutIndex) -> bool:
    """Return whether a check may hold for an index: what it found is of tasks that are the same there."""
    found = record.dropped.hits.keys() | record.dropped.unjudged_hits.keys()
    return record.checked == index.identity or not found & _list_changed(record, index)


def _name_check(record: CheckRecord) -> str:
    return f"{LAYOUT} {record.sha256} {record.checked}"


def _read_table(place: Path, name: str) -> tuple[RowTable, Keys | None] | None:
    """Return table and keys of the check `name`; None if it is of another, after a kill between the two files."""
    if not place.is_file():
        return None
    try:
        with np.load(place, allow_pickle=False) as arrays:
            if str(arrays["check"]) != name:
                return None
            table = RowTable(**{field.name: arrays[field.name] for field in fields(RowTable)})
            return table, arrays.get("keys")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{place}: cannot be read ({to_one_line(error)}); delete it and check again") from error


def _find_place(path: Path) -> Path:
    return path.parent if os.access(path.parent, os.W_OK) else _find_cache(path)


def _find_cache(path: Path) -> Path:
    return find_cache_root() / "checked" / hash_json(str(path.parent.resolve()))[:32]


def _read_record(place: Path) -> CheckRecord | None:
    if not place.is_file():
        return None
    try:
        return CheckRecord.model_validate(read_json(place))
    except ValidationError as error:
        raise TrainingError(f"{place}: {format_first_problem(error)}; delete it and check again") from error
