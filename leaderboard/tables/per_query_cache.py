"""Values per query: from a run's folder, or for a submission recomputed from its rankings.

A submission's values are recomputed if the task's data and list are on this disk, and cached in the user's cache under
the hash of everything they depend on. Without the data there are none; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from mrb import __version__
from mrb._util.files import open_atomically
from mrb._util.hashing import hash_file, hash_json
from mrb._util.parquet import read_untrusted
from mrb.errors import ResultError
from mrb.evaluation.plan import Plan
from mrb.evaluation.recompute import load_result_plan
from mrb.hub.manifest import find_cache_root
from mrb.leaderboard.tables.table_grouping import TableGroup
from mrb.metrics.measures import HEADLINE, Float64, measure_queries
from mrb.results.run import Run, TaskScores, make_task_scores
from mrb.results.schema import CLUSTER_COLUMN
from mrb.submission.reader import ReceivedSubmission
from mrb.submission.validate import find_missing_input, recompute_result


def add_values(run: Run, received: ReceivedSubmission) -> Run:
    """Return the submission's run with values per query for every task that can be recomputed here.

    Raises ResultError if a ranking does not give what the submission states.
    """
    tasks = {
        task_id: _load_values(received, task_id)
        if find_missing_input(received.get_task(task_id), None, scores.result.candidates.sha256) is None
        else scores
        for task_id, scores in run.tasks.items()
    }
    return replace(run, tasks=tasks)


def explain_missing_values(run: Run, task_ids: Sequence[str]) -> str:
    """Return why the run lacks values per query for one of these tasks; empty if it has them all."""
    for task_id in task_ids:
        if task_id not in run.tasks:
            return "not all tasks"
        if not run.tasks[task_id].values:
            return "data not here"
    return ""


def _load_values(received: ReceivedSubmission, task_id: str) -> TaskScores:
    result, ranking = received.submission.results[task_id], received.submission.rankings[task_id]
    stated = [__version__, result.model_dump(mode="json"), ranking.model_dump(mode="json")]
    path = find_cache_root() / "values" / f"{hash_json(stated)}.parquet"
    fields = [("query_id", pa.string()), (CLUSTER_COLUMN, pa.int64())]
    schema = pa.schema([*fields, *((name, pa.float64()) for name in result.measures)])
    if path.is_file() and hash_file(received.ranking_path(task_id)) == ranking.sha256:
        values = read_untrusted(path, schema, ResultError)
        return make_task_scores(result, values, received.submission.definitions.get(task_id))
    found = recompute_result(received, task_id)
    columns = [pa.array(found.query_ids, pa.string()), pa.array(found.clusters, pa.int64())]
    columns += [pa.array(found.values[name], pa.float64()) for name in result.measures]
    with open_atomically(path) as file:
        pq.write_table(pa.table(columns, schema=schema), file)
    return found


def compute_first_stage_values(comparison: TableGroup, task_id: str) -> Float64 | None:
    """Return the headline measure per query of the first stage's order, in task order.

    None if the data, or the very list that was reranked, is not here.
    """
    identity, (_, scores) = comparison.identities[task_id], comparison.reference[task_id]
    task = scores.task.with_qrels(scores.result.data.qrels)
    frozen = task.candidates
    if frozen is None or (identity.candidates, identity.task_hash) != (frozen.sha256, task.hash):
        return None
    if identity.revision != task.revision or find_missing_input(task) is not None:
        return None
    sample = comparison.suite.sample if comparison.suite and identity.selection == "sample" else None
    return compute_first_values(load_result_plan(scores.result, sample, None, task_id, task))


def compute_first_values(plan: Plan) -> Float64:
    """Return the headline measure of each of the plan's queries for the first stage's order."""
    return compute_headline_values(plan, {entry.query_id: entry.doc_ids[: HEADLINE.cutoff] for entry in plan.entries()})


def compute_headline_values(plan: Plan, rankings: Mapping[str, list[str]]) -> Float64:
    """Return the headline measure of each of the plan's queries, float64[queries], for rankings of document ids."""
    qrels = {query_id: plan.data.qrels[query_id] for query_id in plan.query_ids}
    return measure_queries(rankings, qrels, [HEADLINE]).values[HEADLINE]
