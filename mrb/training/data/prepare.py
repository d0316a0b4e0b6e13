"""Prepare a recipe's data: find or build files of groups, check them against test data, split them by source.

Data may be derived from a task's data by a plug-in (entry points `mrb.derived_data`), such as `recoloured`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mrb._util.hashing import hash_file, hash_json
from mrb._util.model import Model
from mrb.data.load import load_task_data
from mrb.data.task import load_task
from mrb.data.task_data import TaskData
from mrb.errors import MRBError, TrainingError
from mrb.hub.manifest import find_cache_root
from mrb.retrieval.first_stage import hash_first_stage
from mrb.training.data.check import FileChecker
from mrb.training.data.check_record import NO_NEGATIVES, USABLE, CheckRecord, RowTable, read_check
from mrb.training.data.contamination import Dropped, HeldOutIndex, list_held_out, load_held_out, sum_dropped
from mrb.training.data.files import GroupFile, find_group_files
from mrb.training.data.group import Ints, TrainingGroup
from mrb.training.data.mine_negatives import BuildOptions
from mrb.training.data.write_dataset import locate_record, make_groups, read_record
from mrb.training.recipe import DataSettings, DataTask

logger = logging.getLogger(__name__)

DERIVED = "mrb.derived_data"
Derive = Callable[[TaskData, int], TaskData]
"""Returns so many variants of each query of a task's data; the task itself is unchanged."""
LAYOUT = 1
"""Part of a built file's cache key: incremented when building changes."""


@dataclass(frozen=True)
class CheckedFile:
    """A file of groups and what its check found."""

    file: GroupFile
    record: CheckRecord
    table: RowTable

    def read_group(self, row: int) -> TrainingGroup:
        """Return a row's group without the documents that are test data."""
        group = self.file[row]
        first, last = np.searchsorted(self.table.rows, (row, row + 1)).tolist()
        if first == last:
            return group
        gone = set(self.table.places[first:last].tolist())
        count = len(group.positives)
        return replace(
            group,
            positives=[one for place, one in enumerate(group.positives) if place not in gone],
            negatives=[one for place, one in enumerate(group.negatives, start=count) if place not in gone],
        )


@dataclass(frozen=True)
class Source:
    """A source of groups: the rows of its files that carry its name and may be trained on, int64[rows] for each file.

    Its groups are numbered through all files.
    """

    name: str
    files: tuple[tuple[CheckedFile, Ints], ...]

    @cached_property
    def _ends(self) -> Ints:
        return np.cumsum([len(rows) for _, rows in self.files])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @cached_property
    def lengths(self) -> npt.NDArray[np.float32]:
        """The `lengths` of `RowTable` of its groups."""
        return np.concatenate([file.table.lengths[rows] for file, rows in self.files])

    def _find(self, place: int) -> tuple[CheckedFile, int]:
        number = int(np.searchsorted(self._ends, place, side="right"))
        file, rows = self.files[number]
        return file, int(rows[place - self._ends[number]])  # from the end

    def group(self, place: int) -> TrainingGroup:
        """Return a group by its index among the source's own rows."""
        file, row = self._find(place)
        return file.read_group(row)

    def locate_error(self, place: int, error: MRBError) -> MRBError:
        """Return a group's error with file and row before its message."""
        file, row = self._find(place)
        return file.file.locate_error(row, error)


class SourceFile(Model):
    """What a training record says of a file of a source: its name, the hash of its content, and the groups used."""

    name: str
    sha256: str
    groups: int


class SourceRecord(Model):
    """What a training record says of a source.

    `task` and `first_stage` say what it was made from, if all its files have the same data record next to them.
    """

    name: str
    files: tuple[SourceFile, ...]
    task: str | None = None
    first_stage: str | None = None

    @property
    def groups(self) -> int:
        """The number of groups used."""
        return sum(file.groups for file in self.files)

    @property
    def sha256(self) -> str:
        """The hash of the file's content; of several files, the hash of their hashes."""
        return self.files[0].sha256 if len(self.files) == 1 else hash_json([file.sha256 for file in self.files])


class LeftOut(Model):
    """Groups left out before training for another reason than test data: without negatives, or found bad by the check.

    The latter only with `data.on_error = "skip"`.
    """

    no_negatives: int = 0
    bad: int = 0


class Contamination(Model):
    """Training data against test data: tasks compared, tasks that could not be compared, and what was dropped."""

    checked: tuple[str, ...]
    unknown: tuple[str, ...]
    dropped: Dropped


@dataclass(frozen=True)
class Prepared:
    """All sources of a recipe, and their records."""

    sources: tuple[Source, ...]
    records: tuple[SourceRecord, ...]
    contamination: Contamination
    left_out: LeftOut

    @property
    def groups(self) -> int:
        """The total number of groups."""
        return sum(len(source) for source in self.sources)


def prepare(settings: DataSettings, *, compares: bool = True) -> Prepared:
    """Return the sources of a recipe's data. Files that were not yet checked against this test data are checked.

    Args:
        settings: The recipe's data.
        compares: Whether its loss compares the documents of a query; then groups without negatives are left out.

    Raises:
        TrainingError: A file is not a file of groups, a row cannot be trained on, or nothing of a file is left.
    """
    usable = (USABLE,) if compares else (USABLE, NO_NEGATIVES)
    index = load_held_out(list_held_out())
    files: list[CheckedFile] = []
    with FileChecker(index) as checker:
        for path in list_files(settings, index):
            files.append(_open_checked(path, checker, settings.skips))
            _refuse_bad(files, settings.skips, usable)
    names = list(dict.fromkeys(name for file in files for name in file.record.sources))
    sources = [source for name in names if (source := _gather(name, files, usable)) is not None]
    contamination = Contamination(
        checked=tuple(sorted(index.keys)),
        unknown=tuple(sorted(index.unknown)),
        dropped=sum_dropped([file.record.dropped for file in files]),
    )
    left_out = LeftOut(
        no_negatives=sum(file.record.no_negatives for file in files) if compares else 0,
        bad=sum(file.record.bad for file in files),
    )
    return Prepared(tuple(sources), tuple(map(_make_source_record, sources)), contamination, left_out)


def list_files(settings: DataSettings, index: HeldOutIndex) -> list[Path]:
    """Return the files of groups of a recipe; those of tasks are built if they are not there."""
    return [*find_group_files(settings.groups), *(_build_groups(task, settings, index) for task in settings.tasks)]


def check_file(path: Path, checker: FileChecker) -> tuple[CheckRecord, RowTable]:
    """Check a file. Content that `mrb train data` compared with the same test data is not compared again."""
    made = read_record(path)
    clean = made is not None and made.checked == checker.index.identity
    return checker.check(path, (made.sha256, made.dropped) if made is not None and clean else None)


def _open_checked(path: Path, checker: FileChecker, skips: int) -> CheckedFile:
    if not path.is_file():
        raise TrainingError(f"{path}: no such file of groups; `mrb train data` makes one")
    found = read_check(path, checker.index)
    # What was bad may have been put right since: an image that was missing.
    if found is None or (found[0].bad and not skips):
        logger.info(f"{path}: checking its groups, once")
        found = check_file(path, checker)
    record, table = found
    return CheckedFile(GroupFile(path, table.starts), record, table)


def _refuse_bad(files: Sequence[CheckedFile], skips: int, usable: tuple[int, ...]) -> None:
    """Raise TrainingError if the last file has bad rows that may not be left out, or nothing to train on."""
    record, path = files[-1].record, files[-1].file.path
    if record.bad:
        more = f" (and {record.bad - 1} more rows; `mrb train check {path}` lists them)" if record.bad > 1 else ""
        if not skips:
            raise TrainingError(f"{path}, {record.problems[0]}{more}")
        logger.warning(f"{path}: {record.bad} rows cannot be trained on, left out; `mrb train check {path}` lists them")
        bad = sum(file.record.bad for file in files)
        if bad > skips:
            raise TrainingError(f"{path}: {bad} groups so far cannot be trained on, data.max_skipped is {skips}")
    if not np.isin(files[-1].table.states, usable).any():
        raise TrainingError(
            f"{path}: nothing is left to train on of {record.groups} groups: {record.dropped.groups} are test data, "
            f"{record.no_negatives} have no negatives, {record.bad} cannot be trained on"
        )


def _gather(name: str, files: Sequence[CheckedFile], usable: tuple[int, ...]) -> Source | None:
    """Return the source `name`, None if none of its groups can be used."""
    parts = []
    for file in files:
        if name in file.record.sources:
            own = file.table.sources == file.record.sources.index(name)
            rows = np.flatnonzero(own & np.isin(file.table.states, usable))
            if len(rows):
                parts.append((file, rows))
    return Source(name, tuple(parts)) if parts else None


def _make_source_record(source: Source) -> SourceRecord:
    made = [read_record(file.file.path) for file, _ in source.files]
    origins = {
        (record.task, record.first_stage)
        if record is not None and record.sha256 == file.record.sha256
        else (None, None)
        for record, (file, _) in zip(made, source.files, strict=True)
    }
    task, first_stage = origins.pop() if len(origins) == 1 else (None, None)
    files = (
        SourceFile(name=file.file.path.name, sha256=file.record.sha256, groups=len(rows)) for file, rows in source.files
    )
    return SourceRecord(name=source.name, files=tuple(files), task=task, first_stage=first_stage)


def derive(name: str, data: TaskData, copies: int) -> TaskData:
    """Return the data that plug-in `name` derives from `data`, with a task id of its own and without candidate list.

    Raises TrainingError if no plug-in of that name is installed.
    """
    made = _load_plugin(name)(data, copies)
    task = made.task.model_copy(update={"id": f"{data.task.id}-{name}", "candidates": None})
    return replace(made, task=task)


def hash_plugin(name: str) -> dict[str, str]:
    """Return the hash of each Python file in a plug-in's folder, by file name. Raises TrainingError like `derive`."""
    module = sys.modules[_load_plugin(name).__module__]
    assert module.__file__ is not None, "what was loaded by an entry point lies in a file"
    return {path.name: hash_file(path) for path in sorted(Path(module.__file__).parent.glob("*.py"))}


def _load_plugin(name: str) -> Derive:
    known = {point.name: point for point in entry_points(group=DERIVED)}
    if name not in known:
        raise TrainingError(f"data.tasks: derived {name!r}: wanted one of {', '.join(sorted(known))}")
    make: Derive = known[name].load()
    return make


def _build_groups(wanted: DataTask, settings: DataSettings, index: HeldOutIndex) -> Path:
    """Return the cached file of a task's groups, built if it is not there."""
    task = load_task(wanted.task)
    options = BuildOptions(settings.depth, settings.random)
    listed = task.candidates.sha256 if task.candidates else None
    key = hash_json(
        [LAYOUT, task.hash, task.source.model_dump(mode="json"), wanted.first_stage, listed]
        + ([] if wanted.first_stage is None else hash_first_stage(wanted.first_stage))
        + [options.depth, options.random, index.identity]
        + ([] if wanted.derived is None else [wanted.derived, wanted.copies, hash_plugin(wanted.derived)])
    )
    folder = find_cache_root() / "built" / key[:32]
    name = task.id if wanted.derived is None else f"{task.id}-{wanted.derived}"
    path = folder / f"{name}.jsonl"
    if not locate_record(path).is_file():  # written last
        logger.info(f"{name}: building groups, once")
        data = load_task_data(task)
        if wanted.derived is not None:
            data = derive(wanted.derived, data, wanted.copies)
        make_groups(data, folder, index, first_stage=wanted.first_stage, options=options)
    return path
