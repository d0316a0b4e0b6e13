"""What a recipe trains on, ready: files of groups found or built, held against test data, cut into sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mrb._util.hashing import sha256_json
from mrb.data.load import load_task_data
from mrb.data.task import Model, load_task
from mrb.errors import MRBError, TrainingError
from mrb.hub.manifest import cache_root
from mrb.training.data.augmentation import derive, derived_id, made_by
from mrb.training.data.contamination import Checker, HeldOutIndex, held_out_index, held_out_tasks
from mrb.training.data.files import GroupFile
from mrb.training.data.group import TrainingGroup
from mrb.training.data.mine_negatives import BuildOptions
from mrb.training.data.sampling import Ints
from mrb.training.data.write_dataset import Dropped, make_groups, read_record, record_path
from mrb.training.recipe import DataSettings, DataTask

LAYOUT = 1
"""Part of a built file's key: raised when building changes."""


@dataclass(frozen=True)
class Source:
    """A source of groups: the rows of a file that carry its name and may be trained on. `changed` holds the groups of
    rows that lost a document to test data."""

    name: str
    file: GroupFile
    rows: Ints
    changed: dict[int, TrainingGroup] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def group(self, place: int) -> TrainingGroup:
        """The group at a place among the source's own rows."""
        row = int(self.rows[place])
        return self.changed[row] if row in self.changed else self.file[row]

    def named(self, place: int, error: MRBError) -> MRBError:
        """The error of a group with its file and row before it."""
        return self.file.named(int(self.rows[place]), error)


class SourceRecord(Model):
    """What a run record says of a source. `file` is the name of the file of groups, `sha256` its content's hash;
    `task`, `first_stage` say what it was made from, where a record of that lies beside it."""

    name: str
    file: str
    sha256: str
    groups: int
    task: str | None = None
    first_stage: str | None = None


class Contamination(Model):
    """Training data against test data: the tasks that were compared, those that could not be, and what was dropped."""

    checked: tuple[str, ...]
    unknown: tuple[str, ...]
    dropped: Dropped


@dataclass(frozen=True)
class Prepared:
    """All sources of a recipe, and what the record says of them."""

    sources: tuple[Source, ...]
    records: tuple[SourceRecord, ...]
    contamination: Contamination

    @property
    def groups(self) -> int:
        """The number of groups in all."""
        return sum(len(source) for source in self.sources)


def prepare(settings: DataSettings, say: Callable[[str], None]) -> Prepared:
    """The sources of a recipe's data. TrainingError if a file is not one of groups, or if nothing is left of it."""
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
    """The cached file of a task's groups, built if it is not there."""
    task = load_task(asked.task)
    options = BuildOptions(settings.depth, settings.random)
    listed = task.candidates.sha256 if task.candidates else None
    key = sha256_json(
        [LAYOUT, task.hash, task.revision, asked.first_stage, listed, options.depth, options.random, index.identity]
        + ([] if asked.derived is None else [asked.derived, asked.copies, made_by(asked.derived)])
    )
    folder = cache_root() / "built" / key[:32]
    path = folder / f"{derived_id(task.id, asked.derived)}.jsonl"
    if not record_path(path).is_file():  # written last
        say(f"{path.stem}: building groups, once")
        data = load_task_data(task)
        if asked.derived is not None:
            data = derive(asked.derived, data, asked.copies)
        make_groups(data, folder, index, first_stage=asked.first_stage, options=options)
    return path


def _open(path: Path, index: HeldOutIndex, say: Callable[[str], None]) -> tuple[list[Source], Dropped]:
    """The sources in a file without what is test data; nothing is hashed that was held against the same index."""
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
    """DataError names the first image that no model takes that can be trained."""
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
