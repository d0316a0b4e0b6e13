"""Values per query: from a run's folder, or for a submission recomputed from its rankings.

A submission's values are recomputed if the task's judgement pack is given, or its data and list are on this disk, and
cached in the user's cache under the hash of everything they depend on. Otherwise there are none; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mrb import __version__
from mrb._util.files import open_atomically
from mrb._util.hashing import hash_file, hash_json
from mrb._util.parquet import read_untrusted
from mrb.candidates.judgement_packs import find_pack
from mrb.data.task import Suite, Task
from mrb.errors import ResultError
from mrb.evaluation.packed_plan import check_packed_result
from mrb.evaluation.packed_values import PackedJudgements, load_packed_judgements
from mrb.evaluation.plan import Plan
from mrb.evaluation.recompute import load_result_plan
from mrb.hub.manifest import find_cache_root
from mrb.leaderboard.tables.table_grouping import TableGroup
from mrb.metrics.aggregation import average_queries
from mrb.metrics.measures import HEADLINE, Float64, measure_queries
from mrb.results.run import Run, TaskScores, hash_query_ids, make_task_scores
from mrb.results.schema import CLUSTER_COLUMN, Result
from mrb.submission.reader import ReceivedSubmission
from mrb.submission.validate import SAME, find_missing_input, read_checked_rankings, recompute_result


def add_values(run: Run, received: ReceivedSubmission, packs: Path | None = None) -> Run:
    """Return the submission's run with values per query for every task that can be recomputed here.

    Args:
        run: The submission as a run.
        received: The submission.
        packs: A folder of judgement packs.

    Raises:
        ResultError: A ranking does not give what the submission states.
        CandidatesError: A pack is damaged or of something else.
    """
    tasks = dict(run.tasks)
    for task_id, scores in run.tasks.items():
        pack = find_pack(task_id, packs, scores.result.candidates.sha256)
        missing = find_missing_input(received.get_task(task_id), None, scores.result.candidates.sha256)
        if pack is not None or missing is None:
            tasks[task_id] = _load_values(received, task_id, pack)
    return replace(run, tasks=tasks)


def explain_missing_values(run: Run, task_ids: Sequence[str]) -> str:
    """Return why the run lacks values per query for one of these tasks; empty if it has them all."""
    for task_id in task_ids:
        if task_id not in run.tasks:
            return "not all tasks"
        if not run.tasks[task_id].values:
            return "neither data nor judgement pack here"
    return ""


def _load_values(received: ReceivedSubmission, task_id: str, pack: Path | None) -> TaskScores:
    result, ranking = received.submission.results[task_id], received.submission.rankings[task_id]
    definition = received.submission.definitions.get(task_id)
    judged = None if pack is None else _load_judgements(pack, result, received.get_task(task_id), received.suite)
    stated = [__version__, result.model_dump(mode="json"), ranking.model_dump(mode="json")]
    stated += [judged.sha256] if judged else []
    path = find_cache_root() / "values" / f"{hash_json(stated)}.parquet"
    fields = [("query_id", pa.string()), (CLUSTER_COLUMN, pa.int64())]
    schema = pa.schema([*fields, *((name, pa.float64()) for name in result.measures)])
    if path.is_file() and hash_file(received.ranking_path(task_id)) == ranking.sha256:
        # A power loss may have left the file empty, for it is not synced: then the values are computed again.
        with suppress(ResultError):
            kept = make_task_scores(result, read_untrusted(path, schema, ResultError), definition)
            return kept if judged is None else _share_ids(kept, judged)
    if judged is not None:
        found = make_task_scores(result, _measure_packed(received, task_id, judged, schema), definition)
        found = _share_ids(found, judged)
    else:
        found = recompute_result(received, task_id)
    columns = [pa.array(found.query_ids, pa.string()), pa.array(found.clusters, pa.int64())]
    columns += [pa.array(found.values[name], pa.float64()) for name in result.measures]
    with open_atomically(path, durable=False) as file:
        pq.write_table(pa.table(columns, schema=schema), file)
    return found


def _share_ids(scores: TaskScores, judged: PackedJudgements) -> TaskScores:
    """Return the scores with the pack's own ids: a hundred submissions need not hold a hundred copies of them."""
    return replace(scores, query_ids=judged.query_ids) if scores.query_ids == judged.query_ids else scores


def _load_judgements(pack: Path, result: Result, task: Task, suite: Suite | None) -> PackedJudgements:
    """Load a pack for a result. Raises CandidatesError or ResultError if it is not that of the result's list."""
    sample = suite.sample if suite is not None and result.data.selection != "all" else None
    limit = result.counts.queries if result.data.selection == "limit" else None
    judged = load_packed_judgements(pack, task, result.candidates.depth, limit=limit, sample=sample)
    check_packed_result(judged.info, result, task, str(pack))
    return judged


def _measure_packed(
    received: ReceivedSubmission, task_id: str, judged: PackedJudgements, schema: pa.Schema
) -> pa.Table:
    """Return the values per query of a submission's rankings; ResultError unless they average to what it states."""
    rows, path = read_checked_rankings(received, task_id), received.ranking_path(task_id)
    if tuple(row.query_id for row in rows) != judged.query_ids:
        raise ResultError(f"{path}: its queries are not those of {task_id}")
    values = judged.measure_orders([row.order for row in rows], str(path))
    for name, stated in received.submission.results[task_id].measures.items():
        found = float(average_queries(values[name], judged.parts))
        if abs(found - stated.mean) > SAME:
            raise ResultError(f"{path}: {name} is {found}, {received.folder.name} states {stated.mean}")
    columns = {"query_id": judged.query_ids, CLUSTER_COLUMN: judged.clusters} | values
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def compute_first_stage_values(comparison: TableGroup, task_id: str) -> Float64 | None:
    """Return the headline measure per query of the first stage's order, in task order.

    None if there is no judgement pack, and the data, or the very list that was reranked, is not here.
    """
    identity, (_, scores) = comparison.identities[task_id], comparison.reference[task_id]
    task = scores.task.with_qrels(scores.result.data.qrels)
    pack = find_pack(task_id, comparison.packs, identity.candidates)
    if pack is not None:
        judged = _load_judgements(pack, scores.result, task, comparison.suite)
        if hash_query_ids(judged.query_ids) != identity.queries:
            raise ResultError(f"{pack}: its queries are not those of the results on {task_id}")
        return judged.measure_first_stage()[str(HEADLINE)]
    frozen = task.candidates
    if frozen is None or (identity.candidates, identity.task_hash) != (frozen.sha256, task.hash):
        return None
    if identity.revision != task.revision or find_missing_input(task) is not None:
        return None
    sample = comparison.suite.sample if comparison.suite and identity.selection != "all" else None
    plan = load_result_plan(scores.result, sample, None, task_id, task)
    return compute_first_values(plan) if hash_query_ids(plan.query_ids) == identity.queries else None


def compute_first_values(plan: Plan) -> Float64:
    """Return the headline measure of each of the plan's queries for the first stage's order."""
    return compute_headline_values(plan, {entry.query_id: entry.doc_ids[: HEADLINE.cutoff] for entry in plan.entries()})


def compute_headline_values(plan: Plan, rankings: Mapping[str, list[str]]) -> Float64:
    """Return the headline measure of each of the plan's queries, float64[queries], for rankings of document ids."""
    qrels = {query_id: plan.data.qrels[query_id] for query_id in plan.query_ids}
    return measure_queries(rankings, qrels, [HEADLINE]).values[HEADLINE]
