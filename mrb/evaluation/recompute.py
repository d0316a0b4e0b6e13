"""Compute the results of a run again from its journals, without a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, Field, ValidationError

from mrb._util.files import read_json
from mrb._util.hashing import dump_canonical_json
from mrb._util.json_diff import diff_json
from mrb._util.parquet import read_untrusted
from mrb._util.redact import redact
from mrb.candidates.candidate_sets import load_published_lists
from mrb.candidates.set_lists import find_set_lists
from mrb.data.task import Sample, Task, is_registered, load_suite, load_task
from mrb.data.task_fields import Sha256, Slug
from mrb.errors import ResultError, format_first_problem
from mrb.evaluation.journal import Journal
from mrb.evaluation.lock import lock_folder
from mrb.evaluation.measure import TaskResult, measure
from mrb.evaluation.outputs import make_score_tables, write_task
from mrb.evaluation.plan import Float32, Plan, list_unscored, load_plan
from mrb.evaluation.score_key import compute_score_key
from mrb.evaluation.spec import TaskSpec
from mrb.results.schema import (
    JOURNAL_FILE,
    MAX_RESULT_BYTES,
    PER_QUERY_FILE,
    RESULT_FILE,
    RUN_FILE,
    SCORES_FILE,
    SCORES_SCHEMA,
    RerankerInfo,
    Result,
    read_run,
)


class _OfCandidates(BaseModel):
    sha256: Sha256
    track: str
    depth: int = Field(gt=0)


class _OfData(BaseModel):
    revision: str
    selection: Literal["all", "sample", "limit"]
    qrels: Literal["cleaned", "raw"] = "cleaned"


class _OfCounts(BaseModel):
    queries: int = Field(gt=0)


class _Basis(BaseModel):
    """The fields of a result that are needed to compute its numbers again; the numbers themselves may be damaged."""

    task: Slug
    task_hash: Sha256
    reranker: RerankerInfo
    candidates: _OfCandidates
    data: _OfData
    counts: _OfCounts


@dataclass(frozen=True)
class Recomputed:
    """A task of a run recomputed from its journal. `stated` is the JSON of its result file."""

    stated: object
    plan: Plan
    scores: Mapping[str, Float32]
    measured: TaskResult


def recompute_task(folder: Path, candidates: Path | None) -> Recomputed:
    """Measure one task of a run again from its journal.

    Reranker, depth and choice of queries are read from the result and checked against the journal's score key.

    Args:
        folder: The task's folder, `runs/<reranker>/<task>`.
        candidates: The task's candidate list, a file or a folder; None for the frozen one.

    Raises:
        ResultError: Result or journal is missing, the journal is incomplete or of other scores, or the result is of
            another task definition.
        CandidatesError: The list is missing, or is another one than the result's.
    """
    path = folder / RESULT_FILE
    stated = read_json(path, limit=MAX_RESULT_BYTES)
    try:
        basis = _Basis.model_validate_json(dump_canonical_json(stated), strict=True)
    except ValidationError as error:
        raise ResultError(f"{path}: {format_first_problem(error)}") from error
    if basis.task != folder.name:
        raise ResultError(f"{path}: a result of task {basis.task} in the folder of {folder.name}")
    task = None if is_registered(basis.task) else read_run(folder.parent).get_task(basis.task)
    plan = load_result_plan(basis, _read_sample(basis, folder), candidates, str(path), task)
    scores = _read_scores(plan, basis, folder / JOURNAL_FILE)
    return Recomputed(stated, plan, scores, measure(plan, scores, basis.reranker))


def verify_task(folder: Path, candidates: Path | None, *, write: bool = False) -> tuple[str, ...]:
    """Recompute one task of a run (`recompute_task`) and return a line for each difference from its files.

    With `write`, write the files again, byte for byte as the run would.
    """
    found = recompute_task(folder, candidates)
    differences = tuple(find_differences(folder, found))
    if write:
        with lock_folder(folder.parent):
            write_task(folder, found.plan, found.scores, found.measured)
    return differences


def find_differences(folder: Path, found: Recomputed) -> Iterator[str]:
    """Yield a line for each difference between the task's files in `folder` and the recomputed values."""
    wanted = redact(found.measured.result.model_dump(mode="json"))  # as it would be written
    for field, stated, value in diff_json(found.stated, wanted):
        yield f"{RESULT_FILE}: {field} is {stated}, recomputed {value}"
    scores = pa.concat_tables([SCORES_SCHEMA.empty_table(), *make_score_tables(found.plan, found.scores)])
    for name, table, keys in (
        (PER_QUERY_FILE, found.measured.per_query, ["query_id"]),
        (SCORES_FILE, scores, ["query_id", "doc_id"]),
    ):
        difference = _compare_table(folder / name, table, keys)
        if difference is not None:
            yield f"{name}: {difference}"


def load_result_plan(
    result: Result | _Basis, sample: Sample | None, candidates: Path | None, where: str, task: Task | None = None
) -> Plan:
    """Load the plan of `result`; `sample` is that of its suite, if any, `task` its task if that is not in the registry.

    Raises:
        ResultError: The result is of another definition of the task, or of another candidate list.
    """
    task = (task or load_task(result.task)).with_qrels(result.data.qrels)
    if result.task_hash != task.hash or result.data.revision != task.revision:
        raise ResultError(f"{where}: made with a definition of {task.id} that differs from this version's")
    if candidates is None and task.id in {one.task for one in load_published_lists().lists}:
        candidates, _ = find_set_lists(result.candidates.track, None, [task])
    limit = result.counts.queries if result.data.selection == "limit" else None
    spec = TaskSpec(task, result.candidates.depth, candidates, limit, sample)
    return load_plan(spec, sha256=result.candidates.sha256)


def _read_sample(result: _Basis, folder: Path) -> Sample | None:
    """Return the sample of the result's queries, from the suite that the run's record names; None if there is none."""
    if result.data.selection == "all":
        return None
    suite = read_run(folder.parent).suite
    sample = None if suite is None else load_suite(suite).sample
    if sample is None and result.data.selection == "sample":
        raise ResultError(f"{folder.parent / RUN_FILE}: names no suite with a sample, {RESULT_FILE} says it is one")
    return sample


def _read_scores(plan: Plan, result: _Basis, path: Path) -> dict[str, Float32]:
    """Return the journal's scores. ResultError if they are of another plan or reranker, or not complete."""
    journal = Journal(path)
    if journal.header is None:
        raise ResultError(f"{path}: there is no journal from which to recompute {result.task}")
    if journal.header.score_key != compute_score_key(plan, result.reranker):
        raise ResultError(f"{path}: holds other scores than {RESULT_FILE} is about: their score keys differ")
    lacking = next(list_unscored(plan, journal.scores), None)
    if lacking is not None:
        raise ResultError(f"{path}: has no score for query {lacking.query_id!r}, candidate {lacking.doc_ids[0]!r}")
    return journal.scores


def _compare_table(path: Path, wanted: pa.Table, keys: Sequence[str]) -> str | None:
    """Return the first difference between a Parquet file and the recomputed table, None if there is none."""
    try:
        found = read_untrusted(path, wanted.schema, ResultError)
    except ResultError as error:
        return str(error).removeprefix(f"{path}: ")
    if len(found) != len(wanted):
        return f"{len(found)} rows, recomputed {len(wanted)}"
    for name in wanted.column_names:
        ours, theirs = (table.column(name).to_numpy() for table in (wanted, found))
        same = ours == theirs
        if ours.dtype.kind == "f":
            same |= np.isnan(ours) & np.isnan(theirs)  # pairs that failed
        rows = np.flatnonzero(~same)
        if len(rows):
            row = int(rows[0])
            pair = ", ".join(f"{key} {wanted.column(key)[row].as_py()!r}" for key in keys)
            return f"{name} differs in {len(rows)} rows, first {pair}: {theirs[row]}, recomputed {ours[row]}"
    return None
