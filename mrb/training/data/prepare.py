"""Prepare a recipe's data: find or build files of groups, check them against test data, split them by source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mrb._util.hashing import sha256_json
from mrb.data.load import load_task_data
from mrb.data.task import Model, load_task
from mrb.errors import MRBError, TrainingError
from mrb.hub.manifest import find_cache_root
from mrb.training.data.augmentation import derive, derived_id, made_by
from mrb.training.data.contamination import Checker, HeldOutIndex, held_out_index, held_out_tasks
from mrb.training.data.files import GroupFile
from mrb.training.data.group import TrainingGroup
from mrb.training.data.mine_negatives import BuildOptions
from mrb.training.data.sampling import Ints
from mrb.training.data.write_dataset import Dropped, make_groups, read_record, record_path
from mrb.training.recipe import DataSettings, DataTask

LAYOUT = 1
"""Part of a built file's cache key: incremented when building changes."""


@dataclass(frozen=True)
class Source:
    """A source of groups: the rows of a file that carry its name and may be trained on.

    `changed` holds the groups of rows from which documents were removed because they are test data.
    """

    name: str
    file: GroupFile
    rows: Ints
    changed: dict[int, TrainingGroup] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def group(self, place: int) -> TrainingGroup:
        """Return a group by its index among the source's own rows."""
        row = int(self.rows[place])
        return self.changed[row] if row in self.changed else self.file[row]

    def named(self, place: int, error: MRBError) -> MRBError:
        """Return a group's error with file and row before its message."""
        return self.file.named(int(self.rows[place]), error)


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


def prepare(settings: DataSettings, say: Callable[[str], None]) -> Prepared:
    """Return the sources of a recipe's data.

    Raises TrainingError if a file is not a file of groups, or if nothing of it is left.
    """
    index = held_out_index(held_out_tasks(), say)
    paths = [Path(name) for name in settings.groups]
    paths += [_built(task, settings, index, say) for task in settings.tasks]
    sources: list[Source] = []
    records: list[SourceRecord] = []
    dropped: list[Dropped] = []
    for path in paths:
        found, lost = _open(path, index, say)
        made = read_record(path)
        known = made is not None and made.sha256 == found[0].file.sha256
        sources += found
        dropped.append(lost)
        records += [
            SourceRecord(
                name=source.name,
                file=path.name,
                sha256=source.file.sha256,
                groups=len(source),
                task=made.task if made is not None and known else None,
                first_stage=made.first_stage if made is not None and known else None,
            )
            for source in found
        ]
    twice = [source.name for source in sources if [s.name for s in sources].count(source.name) > 1]
    if twice:
        raise TrainingError(f"source {twice[0]!r} is in two files; give each file its own sources")
    contamination = Contamination(
        checked=tuple(sorted(index.keys)), unknown=tuple(sorted(index.unknown)), dropped=_sum(dropped)
    )
    return Prepared(tuple(sources), tuple(records), contamination)


def _built(asked: DataTask, settings: DataSettings, index: HeldOutIndex, say: Callable[[str], None]) -> Path:
    """Return the cached file of a task's groups, built if it is not there."""
    task = load_task(asked.task)
    options = BuildOptions(settings.depth, settings.random)
    listed = task.candidates.sha256 if task.candidates else None
    key = sha256_json(
        [LAYOUT, task.hash, task.revision, asked.first_stage, listed, options.depth, options.random, index.identity]
        + ([] if asked.derived is None else [asked.derived, asked.copies, made_by(asked.derived)])
    )
    folder = find_cache_root() / "built" / key[:32]
    path = folder / f"{derived_id(task.id, asked.derived)}.jsonl"
    if not record_path(path).is_file():  # written last
        say(f"{path.stem}: building groups, once")
        data = load_task_data(task)
        if asked.derived is not None:
            data = derive(asked.derived, data, asked.copies)
        make_groups(data, folder, index, first_stage=asked.first_stage, options=options)
    return path


def _open(path: Path, index: HeldOutIndex, say: Callable[[str], None]) -> tuple[list[Source], Dropped]:
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
        say(f"{path}: comparing {len(file):,} groups with test data")
        checker = Checker(index)
        for row, group in enumerate(file):
            try:
                _refuse_thin(group)
                kept = checker.clean(group)
            except MRBError as error:
                raise file.named(row, error) from error
            if kept is None:
                gone.add(row)
            elif (len(kept.positives), len(kept.negatives)) != (len(group.positives), len(group.negatives)):
                changed[row] = kept
        dropped = Dropped.of(checker.tally)
    names = list(dict.fromkeys(file.sources))
    rows = {name: [row for row, own in enumerate(file.sources) if own == name and row not in gone] for name in names}
    found = [Source(name, file, np.asarray(own, np.int64), changed) for name, own in rows.items() if own]
    if not found:
        raise TrainingError(f"{path}: all {len(file)} groups are test data, nothing is left to train on")
    return found, dropped


def _refuse_thin(group: TrainingGroup) -> None:
    """Raise DataError for the first image that no trainable model takes."""
    from mrb.engine.image_features import refuse_thin

    for one in (group.query, *group.positives, *group.negatives):
        if one.item.image is not None:
            refuse_thin(one.item.image)


def _sum(dropped: Sequence[Dropped]) -> Dropped:
    hits: dict[str, int] = {}
    for one in dropped:
        for task, count in one.hits.items():
            hits[task] = hits.get(task, 0) + count
    return Dropped(
        groups=sum(one.groups for one in dropped),
        positives=sum(one.positives for one in dropped),
        negatives=sum(one.negatives for one in dropped),
        hits=dict(sorted(hits.items())),
    )
