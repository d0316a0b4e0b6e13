"""The files of a run and their schemas. A result is deterministic: it has no times and nothing about the machine.

    runs/<reranker>/run.json                     what ran, where, how long (`RunRecord`)
    runs/<reranker>/<task>/result.json           the task's numbers (`Result`)
    runs/<reranker>/<task>/per_query.parquet     query_id, cluster (int64: queries that are not independent share one),
                                                 a float64 column per measure
    runs/<reranker>/<task>/scores.parquet        query_id, doc_id, score (float32)
    runs/<reranker>/<task>/journal               the scores, appended during the run
    runs/<reranker>/shards/<i>-of-<n>/           a shard of a run: run.json, shard.json (`ShardRecord`), <task>/journal

`schema/result.json` and `schema/run.json` in docs are these models as JSON Schema, with their docstrings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import pyarrow as pa
from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from mrb._util.files import read_json, write_json
from mrb._util.model import Model
from mrb._util.printable import PrintableStr
from mrb.candidates.candidate_sets import find_published_list
from mrb.data.inputs import Inputs
from mrb.data.own_tasks import check_definitions
from mrb.data.stats import Counts
from mrb.data.task import Task, load_task
from mrb.data.task_fields import MeasureName, Sha256, Slug, SuiteId
from mrb.errors import ResultError, TaskError, format_first_problem, to_one_line
from mrb.metrics.statistics import MeanInterval

Kind = Literal["pointwise", "setwise", "listwise"]
"""What a reranker's score of a pair depends on: the pair, the set of candidates, or their order."""

RESULT_FILE = "result.json"
RUN_FILE = "run.json"
SHARD_FILE = "shard.json"
SHARDS_FOLDER = "shards"
JOURNAL_FILE = "journal"
PER_QUERY_FILE = "per_query.parquet"
SCORES_FILE = "scores.parquet"
SCORES_SCHEMA = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), ("score", pa.float32())])
CLUSTER_COLUMN = "cluster"
MAX_RESULT_BYTES = 4 * 1024 * 1024

Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
ListAddress = Annotated[
    str, Field(max_length=1000, pattern=r"^hf://datasets(/[A-Za-z0-9._-]+){2}@[0-9a-f]{40}(/[A-Za-z0-9._+-]+)*$")
]
RerankerName = Annotated[str, Field(max_length=96, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


def _refuse_non_finite(value: bool | int | float | str | None) -> bool | int | float | str | None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


M = TypeVar("M", bound=Model)
MAX_OPTION = 2000
"""Most characters of an option's value."""
OptionValue = Annotated[
    bool | int | float | Annotated[str, Field(max_length=MAX_OPTION)] | None, AfterValidator(_refuse_non_finite)
]


Definitions = Annotated[dict[Slug, Task], Field(max_length=200), AfterValidator(check_definitions)]
"""The definitions of tasks of the user's own, by id, as the files of a run hold them."""


class Interval(Model):
    """A mean over queries and its 95 % bootstrap interval, as fractions, as files hold them."""

    mean: Fraction
    low: Fraction
    high: Fraction

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.mean <= self.high:
            raise ValueError(f"the mean {self.mean} is outside its interval [{self.low}, {self.high}]")
        return self

    @classmethod
    def from_mean(cls, found: MeanInterval) -> Self:
        """Return the interval of a measure as computed; ValidationError if it is not within 0 and 1."""
        return cls(mean=found.mean, low=found.low, high=found.high)


Measures = dict[MeasureName, Interval]


class RerankerInfo(Model):
    """The reranker. `source` says where the adapter was loaded from, `source_sha256` is the hash of its source file.

    `max_images` is how many images of one item it takes, None for any number; 1 is not written.
    """

    name: RerankerName
    kind: Kind
    inputs: Inputs
    max_images: int | None = Field(default=1, ge=1)
    version: PrintableStr
    uses_first_stage: bool
    batch_invariant: bool
    options: dict[PrintableStr, OptionValue]
    source: PrintableStr
    source_sha256: Sha256 | None

    @model_serializer(mode="wrap")
    def _without_one_image(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Results of rerankers that take one image per item keep the bytes they had before this field existed.
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if (name, value) != ("max_images", 1)}

    def identity(self) -> dict[str, object]:
        """Return the fields that must be equal for scores to be of the same reranker.

        Left out are the source and its hash, which a resume checks by scoring again, and the declared inputs, number of
        images and batch invariance, which do not change scores.
        """
        left_out = {"source", "source_sha256", "inputs", "max_images", "batch_invariant"}
        return self.model_dump(mode="json", exclude=left_out)

    def describe_differences(self, now: RerankerInfo) -> str:
        """Describe how the identity of `now` differs, as in "option size was 1, is 2"; empty if it is the same."""
        before, after = (
            info.identity() | {f"option {name}": value for name, value in info.options.items()} for info in (self, now)
        )
        names = (name for name in before | after if name != "options")
        given = {
            name: [to_one_line(fields[name], 60) if name in fields else "not given" for fields in (before, after)]
            for name in names
            if (name in before, before.get(name)) != (name in after, after.get(name))
        }
        return "; ".join(f"{name} was {old}, is {new}" for name, (old, new) in given.items())


class CandidatesInfo(Model):
    """The list that was reranked: the first `depth` of its `list_depth` candidates per query."""

    sha256: Sha256
    first_stage: PrintableStr
    track: PrintableStr
    list_depth: int = Field(gt=0, le=10_000)
    depth: int = Field(gt=0, le=10_000)

    @model_validator(mode="after")
    def _within_list(self) -> Self:
        if self.depth > self.list_depth:
            raise ValueError(f"depth {self.depth} of a list that is {self.list_depth} deep")
        return self


class DataInfo(Model):
    """The data: its revision, the choice of queries and judgements, and the counts of loading.

    `selection` is "all", "sample" (a suite's fixed sample) or "limit" (the first queries, `--limit`, for trials).
    `qrels` are "cleaned" (without judgements of documents that the corpus lacks) or "raw". Results of different
    `selection` or `qrels` are not comparable.
    """

    revision: PrintableStr
    selection: Literal["all", "sample", "limit"]
    qrels: Literal["cleaned", "raw"] = "cleaned"
    loading: Counts


class RunCounts(Model):
    """Counts of what was scored. `tied_at_10` is the share of queries whose ranks 10 and 11 have the same score."""

    queries: int = Field(ge=1)
    pairs: int = Field(ge=0)
    queries_without_candidates: int = Field(ge=0)
    self_matches_removed: int = Field(ge=0)
    failed_pairs: int = Field(ge=0)
    tied_at_10: Fraction


class Result(Model):
    """The measures of one reranker on one task.

    `first_stage` is the candidate list in its own order and `oracle` in its best possible order, on the same queries
    and depth. `depths` has the means at each depth, the smaller ones only for pointwise rerankers.
    """

    schema_version: Literal[1]
    task: Slug
    task_hash: Sha256
    reranker: RerankerInfo
    candidates: CandidatesInfo
    data: DataInfo
    counts: RunCounts
    source_measure: MeasureName
    measures: Measures
    first_stage: Measures
    oracle: Measures
    depths: dict[Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}$")], dict[MeasureName, Fraction]]

    @model_validator(mode="after")
    def _same_measures(self) -> Self:
        if not (set(self.measures) == set(self.first_stage) == set(self.oracle)):
            raise ValueError("measures, first_stage and oracle do not hold the same measures")
        for row in (self.measures, self.first_stage):
            for name, value in row.items():
                if value.mean > self.oracle[name].mean + 1e-9:
                    raise ValueError(f"{name} is {value.mean}, above the list's oracle of {self.oracle[name].mean}")
        return self


class TaskTiming(Model):
    """Time of the last call that scored pairs of a task.

    `seconds` is for scoring only, without loading. `day` (UTC, YYYY-MM-DD) is when scoring ended, None if not recorded.
    """

    seconds: float = Field(ge=0, allow_inf_nan=False)
    pairs: int = Field(ge=0)
    day: Annotated[str, Field(pattern=r"^20[0-9]{2}-[01][0-9]-[0-3][0-9]$")] | None = None


class NotCovered(Model):
    """A task that the reranker's declared inputs do not allow."""

    task: Slug
    reason: PrintableStr


class RunRecord(Model):
    """The record of a run: suite, command, environment and timings. It differs from machine to machine.

    `pulled` gives, by task, the Hub folder and commit from which a list was pulled for the run. `definitions` are those
    of the tasks that are not in the registry, so that the run can be read elsewhere; the field is absent without any.
    """

    schema_version: Literal[1]
    mrb_version: PrintableStr
    reranker: RerankerInfo
    suite: SuiteId | None
    suite_version: PrintableStr | None
    tasks: tuple[Slug, ...]
    not_covered: tuple[NotCovered, ...]
    pulled: dict[Slug, ListAddress] = Field(default_factory=dict)
    command: tuple[Annotated[str, Field(max_length=4000)], ...]
    environment: dict[PrintableStr, PrintableStr]
    timings: dict[Slug, TaskTiming]
    definitions: Definitions = Field(default_factory=dict)

    def get_task(self, task_id: str) -> Task:
        """Return the definition of one of the run's tasks: the run's own, or the registry's.

        Raises:
            TaskError: It is in neither.
        """
        return self.definitions.get(task_id) or load_task(task_id)

    @model_serializer(mode="wrap")
    def _without_no_definitions(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return omit_no_definitions(handler(self))


class ShardRecord(Model):
    """The options of a run of one shard: shard `number` (from 1) of `of`, and what decides the queries and pairs of
    the whole run."""

    schema_version: Literal[1]
    number: int = Field(ge=1)
    of: int = Field(ge=1)
    depth: int = Field(gt=0, le=10_000)
    limit: int | None = Field(ge=1)
    qrels: Literal["cleaned", "raw"]
    allow_failures: int = Field(ge=0)

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.number > self.of:
            raise ValueError(f"shard {self.number} of {self.of}")
        return self


def omit_no_definitions(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a record without `definitions` if there are none: such files keep the bytes they had."""
    return {name: value for name, value in fields.items() if name != "definitions" or value}


def read_result(path: Path) -> Result:
    """Read the result in `path`. ResultError names the file and the first invalid field."""
    return parse_file(Result, path)


def read_run(folder: Path) -> RunRecord:
    """Read the record of the run in `folder`. ResultError if there is none or it is invalid."""
    if not (folder / RUN_FILE).exists() and (inside := sorted(folder.glob(f"*/{RUN_FILE}"))):
        names = " ".join(to_one_line(path.parent, 120) for path in inside[:3])
        raise ResultError(f"{folder}: not the folder of a run; it holds {len(inside)} of them, name these: {names}")
    return parse_file(RunRecord, folder / RUN_FILE)


def read_shard(folder: Path) -> ShardRecord:
    """Read the record of the shard in `folder`. ResultError if there is none or it is invalid."""
    return parse_file(ShardRecord, folder / SHARD_FILE)


def list_result_files(path: Path) -> list[Path]:
    """Return the result files of `path`: the file itself, or those of all tasks of a run folder, sorted by task id.

    Raises:
        ResultError: There is none.
    """
    if path.is_file():
        return [path]
    found = sorted(path.glob(f"*/{RESULT_FILE}"))
    if not found:
        raise ResultError(f"{path}: holds no result: wanted a result file or a run folder with <task>/{RESULT_FILE}")
    return found


def write_result(folder: Path, result: Result) -> None:
    """Write `result` into the task's folder of a run, atomically."""
    write_json(folder / RESULT_FILE, result.model_dump(mode="json"))


def write_run(folder: Path, record: RunRecord) -> None:
    """Write the run's record, atomically."""
    write_json(folder / RUN_FILE, record.model_dump(mode="json"))


def write_shard(folder: Path, record: ShardRecord) -> None:
    """Write a shard's record, atomically."""
    write_json(folder / SHARD_FILE, record.model_dump(mode="json"))


def check_registry(result: Result, where: str, definition: Task | None = None) -> None:
    """Refuse a result that does not fit this version's registry, or `definition` for a task of the user's own.

    Raises:
        ResultError: Task, definition, data revision, source measure or frozen list differ, or the reranker does not
            take a modality of the task, or as many images.
    """
    try:
        task = (definition or load_task(result.task)).with_qrels(result.data.qrels)
    except TaskError as error:
        raise ResultError(f"{where}: {error}") from error
    of = "the registry's" if definition is None else "the definition of"
    stated: Mapping[str, tuple[object, object]] = {
        "task_hash": (result.task_hash, task.hash),
        "data.revision": (result.data.revision, task.revision),
        "source_measure": (result.source_measure, task.source_measure),
    }
    for field, (found, wanted) in stated.items():
        if found != wanted:
            raise ResultError(f"{where}: {field} is {found}, {of} {result.task} has {wanted}")
    if task.candidates is not None and task.candidates.sha256 != result.candidates.sha256:
        raise ResultError(f"{where}: scored on candidates {result.candidates.sha256}, not on the task's frozen list")
    listed = find_published_list(result.candidates.track, task.id)
    if listed is not None and listed.sha256 not in (None, result.candidates.sha256):
        raise ResultError(
            f"{where}: scored on candidates {result.candidates.sha256}; the list of candidate set "
            f"{listed.candidate_set} is published with {listed.sha256}"
        )
    if (uncovered := result.reranker.inputs.find_uncovered(task)) is not None:
        raise ResultError(f"{where}: task {task.id} is not covered: {uncovered}")
    most = max(task.images.per_query, task.images.per_document)
    if result.reranker.max_images is not None and most > result.reranker.max_images:
        raise ResultError(f"{where}: the reranker takes fewer images per item than the {most} of task {task.id}")


def parse_file(model: type[M], path: Path) -> M:
    """Read the file as `model`, strictly: at most MAX_RESULT_BYTES, no unknown field, no field of another type.

    Raises:
        ResultError: Names the file and the first invalid field.
    """
    value = read_json(path, limit=MAX_RESULT_BYTES)
    try:
        # Strict mode: "12" is not a number and 1 is not a Boolean. From JSON: a list is accepted for a tuple.
        return model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise ResultError(f"{path}: {format_first_problem(error)}") from error
    except RecursionError as error:
        raise ResultError(f"{path}: nested too deeply") from error
