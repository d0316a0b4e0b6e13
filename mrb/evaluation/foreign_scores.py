"""Measure scores that another tool has written into a file, and store them as a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mrb import __version__
from mrb._util.hashing import hash_file
from mrb.candidates.score_files import Scores
from mrb.data.inputs import Inputs
from mrb.data.own_tasks import collect_definitions
from mrb.data.task import MODALITIES, Task
from mrb.errors import ResultError, to_one_line
from mrb.evaluation import environment
from mrb.evaluation.journal import Record, write_journal
from mrb.evaluation.lock import lock_folder
from mrb.evaluation.measure import TaskResult, measure
from mrb.evaluation.outputs import discard_task, write_task
from mrb.evaluation.plan import Float32, Plan, load_plan
from mrb.evaluation.resume import refuse_other_set
from mrb.evaluation.score_key import make_header
from mrb.evaluation.spec import TaskSpec
from mrb.results.run import Run, make_task_scores
from mrb.results.schema import JOURNAL_FILE, RUN_FILE, Kind, RerankerInfo, RunRecord, read_run, write_run

FILE_SOURCE = "scores in "


@dataclass(frozen=True)
class ScoredFile:
    """Scores from a file, with their plan and measures."""

    plan: Plan
    scores: Mapping[str, Float32]
    measured: TaskResult


def score_file(spec: TaskSpec, scores: Scores, info: RerankerInfo, where: str) -> ScoredFile:
    """Measure scores from a file on one task.

    Every candidate, to the depth, must have a score, and no other document may have one. Two kinds are allowed and
    ignored: deeper candidates of the list for a pointwise reranker, and self-matches that the task's rules remove.

    Args:
        spec: The task, its depth, list and queries.
        scores: Query id -> document id -> score.
        info: What is known of the reranker (`make_file_info`).
        where: The file's name, for messages.

    Raises:
        ResultError: Names the first pair that does not fit.
    """
    plan = load_plan(spec)
    unknown = scores.keys() - set(plan.query_ids)
    if unknown:
        raise ResultError(
            f"{where}: query {min(unknown)!r} is not among the queries of {spec.task.id} ({len(unknown)} such)"
        )
    kept = {
        query_id: _order_scores(plan, query_id, scores.get(query_id, {}), info.kind, where)
        for query_id in plan.query_ids
    }
    return ScoredFile(plan, kept, measure(plan, kept, info))


def make_file_info(path: Path, task: Task, *, name: str | None, kind: Kind, uses_first_stage: bool) -> RerankerInfo:
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
        inputs=Inputs.both(*(m for m in MODALITIES if m in (task.query_modality, task.document_modality))),
        max_images=max(task.images.per_query, task.images.per_document),
        version="",
        uses_first_stage=uses_first_stage,
        batch_invariant=False,
        options={},
        source=FILE_SOURCE + to_one_line(path.name, 180),
        source_sha256=hash_file(path),
    )


def make_run(scored: ScoredFile, command: Sequence[str]) -> Run:
    """Return the scored task as a run in memory, for tables."""
    result = scored.measured.result
    found = make_task_scores(result, scored.measured.per_query)
    record = _make_record(result.reranker, scored.plan.data.task, None, command)
    return Run(Path(result.reranker.name), record, {result.task: found})


def write_scored(folder: Path, scored: ScoredFile, command: Sequence[str]) -> None:
    """Write what `score_file` measured as a task of the run in `folder`, with the same files as `mrb run`.

    Other tasks of the same reranker in the folder stay. ResultError if the folder holds another reranker, or a run that
    MRB scored itself.
    """
    info, task = scored.measured.result.reranker, scored.plan.data.task
    header = make_header(scored.plan, info, environment.list_packages())
    with lock_folder(folder):
        earlier = read_run(folder) if (folder / RUN_FILE).exists() else None
        if earlier is not None and earlier.reranker.identity() != info.identity():
            raise ResultError(f"{folder}: holds a run of {earlier.reranker.name} of another kind; give another --name")
        if earlier is not None and not earlier.reranker.source.startswith(FILE_SOURCE):
            raise ResultError(f"{folder}: holds a run that MRB scored itself; give another --name")
        if earlier is not None:
            refuse_other_set(folder, {task.id: scored.plan.candidates.provenance.track}, earlier)
        task_folder = folder / task.id
        task_folder.mkdir(parents=True, exist_ok=True)
        discard_task(task_folder)
        records = (Record(query_id, 0, scores) for query_id, scores in scored.scores.items() if len(scores))
        write_journal(task_folder / JOURNAL_FILE, header, records)
        write_task(task_folder, scored.plan, scored.scores, scored.measured)
        write_run(folder, _make_record(info, task, earlier, command))


def _make_record(info: RerankerInfo, task: Task, earlier: RunRecord | None, command: Sequence[str]) -> RunRecord:
    """Return the record of a run made from files: no suite, the modalities and images of all its tasks, no timings."""
    inputs = info.inputs.add(earlier.reranker.inputs) if earlier else info.inputs
    most = max(one.max_images or 1 for one in (info, *([earlier.reranker] if earlier else [])))
    return RunRecord(
        schema_version=1,
        mrb_version=__version__,
        reranker=info.model_copy(update={"inputs": inputs, "max_images": most}),
        suite=None,
        suite_version=None,
        tasks=tuple(sorted({task.id, *(earlier.tasks if earlier else ())})),
        not_covered=(),
        command=tuple(command),
        environment=environment.describe_environment(),
        timings={},
        definitions={**(earlier.definitions if earlier else {}), **collect_definitions([task])},
    )


def _order_scores(plan: Plan, query_id: str, given: Mapping[str, float], kind: Kind, where: str) -> Float32:
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
