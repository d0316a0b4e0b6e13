"""Prepare a recipe's data: find or build files of groups, check them against test data, split them by source.

Data may be derived from a task's data by a plug-in (entry points `mrb.derived_data`), such as `recoloured`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path

from mrb._util.hashing import hash_file, hash_json
from mrb._util.model import Model
from mrb.data.load import load_task_data
from mrb.data.task import load_task
from mrb.data.task_data import TaskData
from mrb.errors import MRBError, TrainingError
from mrb.hub.manifest import find_cache_root
from mrb.training.data.contamination import Checker, Dropped, HeldOutIndex, list_held_out, load_held_out, sum_dropped
from mrb.training.data.files import GroupFile
from mrb.training.data.group import TrainingGroup
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
class Source:
    """A source of groups: the rows of a file that carry its name and may be trained on.

    `changed` holds the groups of rows from which documents were removed because they are test data.
    """

    name: str
    file: GroupFile
    rows: Sequence[int]
    changed: dict[int, TrainingGroup] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def group(self, place: int) -> TrainingGroup:
        """Return a group by its index among the source's own rows."""
        row = self.rows[place]
        return self.changed[row] if row in self.changed else self.file[row]

    def locate_error(self, place: int, error: MRBError) -> MRBError:
        """Return a group's error with file and row before its message."""
        return self.file.locate_error(self.rows[place], error)


class SourceRecord(Model):
    """What a training record says of a source. `file` is the name of the file of groups, `sha256` the hash of its
    content.

    `task` and `first_stage` say what it was made from, if its data record is next to it.
    """

    name: str
    file: str
    sha256: str
    groups: int
    task: str | None = None
    first_stage: str | None = None


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

    @property
    def groups(self) -> int:
        """The total number of groups."""
        return sum(len(source) for source in self.sources)


def prepare(settings: DataSettings) -> Prepared:
    """Return the sources of a recipe's data.

    Raises TrainingError if a file is not a file of groups, or if nothing of it is left.
    """
    index = load_held_out(list_held_out())
    paths = [Path(name) for name in settings.groups]
    paths += [_build_groups(task, settings, index) for task in settings.tasks]
    sources: list[Source] = []
    records: list[SourceRecord] = []
    dropped: list[Dropped] = []
    for path in paths:
        found, lost = _open_sources(path, index)
        made = read_record(path)
        if made is not None and made.sha256 != found[0].file.sha256:
            made = None
        sources += found
        dropped.append(lost)
        records += [
            SourceRecord(
                name=source.name,
                file=path.name,
                sha256=source.file.sha256,
                groups=len(source),
                task=None if made is None else made.task,
                first_stage=None if made is None else made.first_stage,
            )
            for source in found
        ]
    names = [source.name for source in sources]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise TrainingError(f"source {twice[0]!r} is in two files; give each file its own sources")
    contamination = Contamination(
        checked=tuple(sorted(index.keys)), unknown=tuple(sorted(index.unknown)), dropped=sum_dropped(dropped)
    )
    return Prepared(tuple(sources), tuple(records), contamination)


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


def _open_sources(path: Path, index: HeldOutIndex) -> tuple[list[Source], Dropped]:
    """Return the sources in a file without test data.

    A file already checked against the same index is not hashed again.
    """
    file = GroupFile(path)
    record = read_record(path)
    changed: dict[int, TrainingGroup] = {}
    gone: set[int] = set()
    if record is not None and record.sha256 == file.sha256 and record.checked == index.identity:
        dropped = record.dropped
    else:
        logger.info(f"{path}: comparing {len(file):,} groups with test data")
        checker = Checker(index)
        for row, group in enumerate(file):
            try:
                _refuse_thin(group)
                kept = checker.clean(group)
            except MRBError as error:
                raise file.locate_error(row, error) from error
            if kept is None:
                gone.add(row)
            elif kept is not group:
                changed[row] = kept
        dropped = checker.dropped
    names = list(dict.fromkeys(file.sources))
    rows = {name: [row for row, own in enumerate(file.sources) if own == name and row not in gone] for name in names}
    found = [Source(name, file, own, changed) for name, own in rows.items() if own]
    if not found:
        raise TrainingError(f"{path}: all {len(file)} groups are test data, nothing is left to train on")
    return found, dropped


def _refuse_thin(group: TrainingGroup) -> None:
    """Raise DataError for the first image that no trainable model takes."""
    from mrb.engine.vision import refuse_thin

    for one in group.items:
        if one.item.image is not None:
            refuse_thin(one.item.image)
