"""Compute results without a model: again from a run's journals, or from a file of scores made by other tools."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from pydantic import BaseModel, Field, ValidationError

from mrb import __version__
from mrb._util.files import read_json
from mrb._util.hashing import canonical_json, sha256_file
from mrb._util.parquet import read_untrusted
from mrb.candidates.score_files import Scores
from mrb.data.task import Sample, Sha256, Slug, Task, load_suite, load_task
from mrb.errors import ResultError, first_problem, one_line
from mrb.evaluation import environment
from mrb.evaluation.journal import Header, JournalWriter, Record, replay
from mrb.evaluation.lock import locked
from mrb.evaluation.measure import Measured, measure
from mrb.evaluation.outputs import discard_task, write_task
from mrb.evaluation.plan import Float32, Plan, load_plan
from mrb.evaluation.run import JOURNAL_FILE
from mrb.evaluation.scored import held_scores, missing, score_key
from mrb.evaluation.spec import TaskSpec
from mrb.rerankers.reranker import MODALITIES, Kind
from mrb.results.run import Run, task_scores
from mrb.results.schema import (
    MAX_RESULT_BYTES,
    PER_QUERY_FILE,
    RESULT_FILE,
    RUN_FILE,
    SCORES_FILE,
    RerankerInfo,
    Result,
    RunRecord,
    read_run,
    write_run,
)

FILE_SOURCE = "scores in "


class _OfCandidates(BaseModel):
    sha256: Sha256
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
class Rescored:
    """Comparison of a task's files with recomputed ones: `differences` has a line for each difference."""

    task: str
    differences: tuple[str, ...]


@dataclass(frozen=True)
class Recomputed:
    """A task of a run recomputed from its journal. `stated` is the JSON of its result file, `held` the scores."""

    stated: object
    plan: Plan
    held: Mapping[str, Float32]
    measured: Measured


def recompute_task(folder: Path, candidates: Path | None) -> Recomputed:
    """Measure one task of a run again from its journal.

    Reranker, depth and choice of queries are read from the result and checked against the journal's score key.

    Args:
        folder: The task's folder, `runs/<reranker>/<task>`.
        candidates: The task's candidate list, a file or a folder; None for the frozen one.

    Raises:
        ResultError: Result or journal is missing, the journal is incomplete or of other scores, or the result is of
            another task definition or candidate list.
    """
    path = folder / RESULT_FILE
    stated = read_json(path, limit=MAX_RESULT_BYTES)
    try:
        result = _Basis.model_validate_json(canonical_json(stated), strict=True)
    except ValidationError as error:
        raise ResultError(f"{path}: {first_problem(error)}") from error
    if result.task != folder.name:
        raise ResultError(f"{path}: a result of task {result.task} in the folder of {folder.name}")
    plan = load_result_plan(result, _sample(result, folder), candidates, str(path))
    held = _journal_of(plan, result, folder / JOURNAL_FILE)
    return Recomputed(stated, plan, held, measure(plan, held, result.reranker))


def differences(folder: Path, found: Recomputed) -> tuple[str, ...]:
    """Return a line for each difference between the task's files in `folder` and `found`."""
    with tempfile.TemporaryDirectory(prefix="mrb-score-") as scratch:
        write_task(Path(scratch), found.plan, found.held, found.measured)
        return tuple(_differences(folder, found.stated, Path(scratch)))


def rescore_task(folder: Path, candidates: Path | None, *, write: bool = False) -> Rescored:
    """Recompute the files of one task of a run from its journal (`recompute_task`) and compare them.

    With `write`, write them again, byte for byte as the run would.
    """
    found = recompute_task(folder, candidates)
    told = differences(folder, found)
    if write:
        with locked(folder.parent):
            write_task(folder, found.plan, found.held, found.measured)
    return Rescored(found.plan.data.task.id, told)


@dataclass(frozen=True)
class Scored:
    """Scores from a file, with their plan and measures."""

    plan: Plan
    scores: Mapping[str, Float32]
    measured: Measured


def score_file(spec: TaskSpec, scores: Scores, info: RerankerInfo, where: str) -> Scored:
    """Measure scores from a file on one task.

    Every candidate, to the depth, must have a score, and no other document may have one. Two kinds are
    allowed and ignored: deeper candidates of the list for a pointwise reranker, and self-matches that the task's rules
    remove.

    Args:
        spec: The task, its depth, list and queries.
        scores: Query id -> document id -> score.
        info: What is known of the reranker (`file_info`).
        where: The file's name, for messages.

    Raises:
        ResultError: Names the first pair that does not fit.
    """
    task = spec.task
    plan = load_plan(spec)
    unknown = scores.keys() - set(plan.query_ids)
    if unknown:
        raise ResultError(
            f"{where}: query {min(unknown)!r} is not among the queries of {task.id} ({len(unknown)} such)"
        )
    held = {
        query_id: _in_list_order(plan, query_id, scores.get(query_id, {}), info.kind, where)
        for query_id in plan.query_ids
    }
    return Scored(plan, held, measure(plan, held, info))


def file_info(path: Path, task: Task, *, name: str | None, kind: Kind, uses_first_stage: bool) -> RerankerInfo:
    """Return the `RerankerInfo` of a reranker that is known only by a file of scores.

    It has the file's name and hash and the task's modalities. Name (the file's unless given), kind and use of the first
    stage are what the caller states. ResultError if no valid name is left.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", ".", name or path.stem).lstrip("._-")[:96]
    if not plain:
        raise ResultError(f"{path}: give the reranker a name with --name")
    return RerankerInfo(
        name=plain,
        kind=kind,
        inputs=tuple(m for m in MODALITIES if m in (task.query_modality, task.document_modality)),
        version="",
        uses_first_stage=uses_first_stage,
        batch_invariant=False,
        options={},
        source=FILE_SOURCE + one_line(path.name, 180),
        source_sha256=sha256_file(path),
    )


def as_run(scored: Scored, command: Sequence[str]) -> Run:
    """Return the scored task as a run in memory, for tables."""
    result = scored.measured.result
    found = task_scores(result, scored.measured.per_query)
    record = _record(result.reranker, scored.plan.data.task, None, command)
    return Run(Path(result.reranker.name), record, {result.task: found})


def write_scored(folder: Path, scored: Scored, command: Sequence[str]) -> None:
    """Write what `score_file` measured as a task of the run in `folder`, with the same files as `mrb run`.

    Other tasks of the same reranker in the folder stay. ResultError if the folder holds another reranker, or a run that
    MRB scored itself.
    """
    info, task = scored.measured.result.reranker, scored.plan.data.task
    header = Header(
        score_key=score_key(scored.plan, info),
        task=task.id,
        reranker=info.name,
        source_sha256=info.source_sha256,
        packages=environment.packages(),
    )
    with locked(folder):
        earlier = read_run(folder) if (folder / RUN_FILE).exists() else None
        if earlier is not None and earlier.reranker.identity() != info.identity():
            raise ResultError(f"{folder}: holds a run of {earlier.reranker.name} of another kind; give another --name")
        if earlier is not None and not earlier.reranker.source.startswith(FILE_SOURCE):
            raise ResultError(f"{folder}: holds a run that MRB scored itself; give another --name")
        path = folder / task.id / JOURNAL_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        discard_task(path.parent, path)
        with JournalWriter(path, header) as journal:
            for query_id, scores in scored.scores.items():
                if len(scores):
                    journal.append(Record(query_id, 0, scores))
        write_task(path.parent, scored.plan, scored.scores, scored.measured)
        write_run(folder, _record(info, task, earlier, command))


def _record(info: RerankerInfo, task: Task, earlier: RunRecord | None, command: Sequence[str]) -> RunRecord:
    """Return the record of a run made from files: no suite, the modalities of all its tasks, no timings."""
    inputs = set(info.inputs) | set(earlier.reranker.inputs if earlier else ())
    return RunRecord(
        schema_version=1,
        mrb_version=__version__,
        reranker=info.model_copy(update={"inputs": tuple(m for m in MODALITIES if m in inputs)}),
        suite=None,
        suite_version=None,
        tasks=tuple(sorted({task.id, *(earlier.tasks if earlier else ())})),
        not_covered=(),
        command=tuple(command),
        environment=environment.environment(),
        timings={},
    )


def load_result_plan(result: Result | _Basis, sample: Sample | None, candidates: Path | None, where: str) -> Plan:
    """Load the plan of `result`; `sample` is that of its suite, if any.

    Raises:
        ResultError: The result is of another definition of the task, or of another candidate list.
    """
    task = load_task(result.task).with_qrels(result.data.qrels)
    if result.task_hash != task.hash or result.data.revision != task.revision:
        raise ResultError(f"{where}: made with another definition of {task.id} than this version's")
    limit = result.counts.queries if result.data.selection == "limit" else None
    spec = TaskSpec(task, result.candidates.depth, candidates, limit, sample)
    return load_plan(spec, sha256=result.candidates.sha256)


def _sample(result: _Basis, folder: Path) -> Sample | None:
    """Return the sample of the result's queries, from the suite that the run's record names; None if there is none."""
    if result.data.selection == "all":
        return None
    suite = read_run(folder.parent).suite
    sample = None if suite is None else load_suite(suite).sample
    if sample is None and result.data.selection == "sample":
        raise ResultError(f"{folder.parent / RUN_FILE}: names no suite with a sample, {RESULT_FILE} says it is one")
    return sample


def _journal_of(plan: Plan, result: _Basis, path: Path) -> dict[str, Float32]:
    """Return the journal's scores. ResultError if they are of another plan or reranker, or not complete."""
    found = replay(path)
    if found.header is None:
        raise ResultError(f"{path}: there is no journal to recompute {result.task} from")
    if found.header.score_key != score_key(plan, result.reranker):
        raise ResultError(f"{path}: holds other scores than {RESULT_FILE} is about: their score keys differ")
    held = held_scores(found.records, path)
    lacking = next(missing(plan, held), None)
    if lacking is not None:
        raise ResultError(f"{path}: has no score for query {lacking.query_id!r}, candidate {lacking.doc_ids[0]!r}")
    return held


def _differences(folder: Path, stated: object, recomputed: Path) -> Iterator[str]:
    """Yield a line for each difference between the files in `folder` and those in `recomputed`."""
    again = dict(leaves(read_json(recomputed / RESULT_FILE)))
    for field, value in leaves(stated):
        if (wanted := again.pop(field, None)) != value:
            yield f"{RESULT_FILE}: {field} is {value}, recomputed {wanted}"
    yield from (f"{RESULT_FILE}: {field} is missing, recomputed {value}" for field, value in again.items())
    for name, keys in ((PER_QUERY_FILE, ["query_id"]), (SCORES_FILE, ["query_id", "doc_id"])):
        difference = _table_difference(folder / name, recomputed / name, keys)
        if difference is not None:
            yield f"{name}: {difference}"


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield (dotted path, value) of every value in a JSON object, at any depth, that is not an object itself."""
    if not isinstance(value, dict):
        yield path, value
        return
    for key, inner in value.items():
        yield from leaves(inner, f"{path}.{key}" if path else key)


def _table_difference(path: Path, recomputed: Path, keys: Sequence[str]) -> str | None:
    """Return the first difference between a Parquet file and the recomputed one, None if there is none."""
    wanted = pq.read_table(recomputed)
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


def _in_list_order(plan: Plan, query_id: str, given: Mapping[str, float], kind: Kind, where: str) -> Float32:
    """Return one query's scores in first-stage order. ResultError if they are not those of its candidates."""
    entry = plan.entry(query_id)
    missing_pair = next((doc_id for doc_id in entry.doc_ids if doc_id not in given), None)
    if missing_pair is not None:
        raise ResultError(f"{where}: query {query_id!r}: no score for candidate {missing_pair!r}")
    listed, _ = plan.candidates.get(query_id)
    whole = replace(plan, depth=max(len(listed), 1)).entry(query_id)
    # Setwise and listwise scores depend on all candidates scored together, so deeper ones are refused. Self-matches are
    # in no entry and therefore allowed.
    inside = set(listed) if kind == "pointwise" else set(listed) - set(whole.doc_ids[len(entry.doc_ids) :])
    outside = next((doc_id for doc_id in given if doc_id not in inside), None)
    if outside is not None:
        raise ResultError(f"{where}: query {query_id!r}: document {outside!r} is not among its candidates")
    return np.array([given[doc_id] for doc_id in entry.doc_ids], np.float32)
