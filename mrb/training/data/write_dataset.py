"""`mrb train data`: write a task as a file of groups, checked against test data, with a record of how it was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from mrb._util.files import read_json, write_json
from mrb._util.format import format_count, format_tasks
from mrb._util.hashing import hash_file
from mrb._util.model import Model
from mrb.candidates.lists import Candidates
from mrb.candidates.load import load_candidates
from mrb.data.task import Task, is_registered, load_task
from mrb.data.task_data import TaskData
from mrb.data.task_fields import Sha256
from mrb.errors import TrainingError, format_first_problem
from mrb.hub.address import HubFolder
from mrb.retrieval.first_stage import load_first_stage, make_candidates
from mrb.retrieval.own_lists import make_own_lists
from mrb.training.data.contamination import Checker, Dropped, HeldOutIndex, format_dropped
from mrb.training.data.files import write_groups
from mrb.training.data.group import TrainingGroup
from mrb.training.data.mine_negatives import BuildOptions, GroupBuilder
from mrb.training.data.own_groups import OwnGroups
from mrb.training.data.rows import Form

TRACK = "training"


class DataRecord(Model):
    """How a file of groups was made, stored next to it. `checked` is the identity of the index of test data.

    It was made from a task, or from `files` (their hashes by name) of a `format` of another tool; then `task` is the
    name of the source, and `repository` at the commit `revision` their data set on the Hub, if they are from there.
    """

    schema_version: Literal[1] = 1
    task: str
    task_hash: Sha256 | None = None
    repository: str | None = None
    revision: str | None = None
    format: str | None = None
    files: dict[str, Sha256] = Field(default={})
    first_stage: str | None = None
    candidates_sha256: Sha256 | None = None
    depth: int = 0
    random: int = 0
    margin: float | None = None
    percent: float | None = None
    teacher: str | None = None
    counts: dict[str, int]
    checked: Sha256
    checked_tasks: tuple[str, ...]
    unknown_tasks: tuple[str, ...]
    dropped: Dropped
    sha256: Sha256


def locate_record(path: Path) -> Path:
    """Return the path of the record of a file of groups."""
    return path.with_name(f"{path.stem}.record.json")


def read_record(path: Path) -> DataRecord | None:
    """Return the record of the groups in `path`, None if there is none. Raises TrainingError if it is damaged."""
    place = locate_record(path)
    if not place.is_file():
        return None
    try:
        return DataRecord.model_validate(read_json(place))
    except ValidationError as error:
        raise TrainingError(f"{place}: {format_first_problem(error)}; make the groups again") from error


def make_groups(
    data: TaskData,
    folder: Path,
    index: HeldOutIndex,
    *,
    first_stage: str | None = None,
    candidates: Path | None = None,
    options: BuildOptions | None = None,
    form: Form = "jsonl",
    embed: bool = False,
    own: OwnGroups | None = None,
) -> DataRecord:
    """Write `FOLDER/TASK.FORM` from a task's data, with its images and its record.

    Args:
        data: The task's data.
        folder: Output folder.
        index: Hashes of test data.
        first_stage: Retrieves hard negatives (default: that of the task, or of the test split of the same name).
        candidates: A candidate list to take hard negatives from instead.
        options: How many negatives a group keeps.
        form: "jsonl" or "parquet".
        embed: Whether images are stored in the file itself.
        own: What the task was made from, if from own groups: their source and instruction stay.

    Returns:
        The record.

    Raises:
        TrainingError: Nothing is left, or no first stage is known.
    """
    options = options or BuildOptions()
    task = data.task
    found = _find_candidates(data, first_stage, candidates, options.depth)
    builder, checker = GroupBuilder(data, found, options), Checker(index)
    source, instruction = (task.id, task.instruction) if own is None else (own.source, own.instruction)
    if own is not None:
        builder.counts["without_positives"] = own.without_positives
    groups = (replace(group, source=source, instruction=instruction) for group in builder.build_groups())
    return write_dataset(
        folder / f"{task.id}.{form}",
        filter(None, map(checker.clean, groups)),
        checker,
        builder.counts,
        embed=embed,
        task=task.id,
        task_hash=task.hash,
        revision=task.revision,
        first_stage=None if found is None else found.provenance.first_stage,
        candidates_sha256=None if found is None else found.sha256,
        depth=options.depth,
        random=options.random,
        margin=options.margin,
        percent=options.percent,
    )


def write_dataset(
    path: Path,
    groups: Iterable[TrainingGroup],
    checker: Checker,
    counts: Mapping[str, int],
    *,
    embed: bool,
    **made: Any,
) -> DataRecord:
    """Write groups that `checker` cleaned to a file, and the record next to it.

    Args:
        path: The file.
        groups: The groups.
        checker: Has left out the test data.
        counts: What the maker of the groups counts; read when all are written.
        embed: Whether images are stored in the file itself.
        made: Fields of the record: how the groups were made.

    Raises:
        TrainingError: Nothing is left.
    """
    kept = Counter[str]()

    def count_kept() -> Iterator[TrainingGroup]:
        for group in groups:
            kept.update({side: len(getattr(group, side)) for side in ("positives", "hard", "random")})
            kept["without_negatives"] += not group.negatives
            yield group

    written = write_groups(path, count_kept(), embed=embed)
    if not written:
        for stale in (path, locate_record(path)):
            stale.unlink(missing_ok=True)
        raise TrainingError(f"{path}: no group is left; {format_count(checker.dropped.groups, 'group')} of test data")
    record = DataRecord(
        **made,
        counts={"written": written, **kept, **counts},
        checked=checker.index.identity,
        checked_tasks=tuple(sorted(checker.index.keys)),
        unknown_tasks=tuple(sorted(checker.index.unknown)),
        dropped=checker.dropped,
        sha256=hash_file(path),
    )
    write_json(locate_record(path), record.model_dump(mode="json"))
    return record


def summarize_record(record: DataRecord, path: Path) -> Iterator[str]:
    """Yield the record in a few lines."""
    counts = record.counts
    yield (
        f"{path}: {format_count(counts['written'], 'group')}, {format_count(counts['positives'], 'positive')}, "
        f"{counts['hard']:,} hard and {format_count(counts['random'], 'random negative')}"
    )
    if record.format is None:
        yield (
            f"  first stage {record.first_stage or 'none'}; {format_count(counts['like_positive'], 'negative')} left "
            f"out as near-identical to a positive, queries without a negative: {counts['without_negatives']}"
        )
        if ungraded := counts.get("without_positives"):
            yield f"  left out as all their positives have grade 0: {format_count(ungraded, 'group')}"
        if record.margin is not None or record.percent is not None:
            yield f"  left out by margin or percentage: {format_count(counts['near_positive'], 'hard negative')}"
    else:
        where = ", ".join(record.files)
        if record.repository is not None:
            where = str(HubFolder(record.repository, record.revision))
        yield f"  from {where} ({record.format}); {counts['without_negatives']} without a negative"
    yield from format_dropped(record.dropped)
    yield (
        f"  checked against {format_tasks(len(record.checked_tasks))}; unknown, as their data is not here: "
        f"{len(record.unknown_tasks)}"
    )


def _find_candidates(data: TaskData, first_stage: str | None, given: Path | None, depth: int) -> Candidates | None:
    if not depth:
        return None
    task = data.task
    if first_stage is None and (given is not None or task.candidates is not None):
        return load_candidates(task, given, 1)
    name = first_stage or _find_first_stage(task)
    if not is_registered(task.id) and task.source.kind != "embedded":
        return load_candidates(task, make_own_lists([task], name, depth), 1)  # kept, and continued after a kill
    return make_candidates(data, load_first_stage(name), name, depth, TRACK)


def _find_first_stage(task: Task) -> str:
    """Return the first stage of the task whose training split this is."""
    whole, training, _ = task.id.partition("-train")
    candidates = load_task(whole).candidates if training and is_registered(whole) else None
    if candidates is None:
        raise TrainingError(
            f"task {task.id} has no candidate list: give --candidates, or --first-stage NAME to make one, or --depth 0"
        )
    return candidates.first_stage
