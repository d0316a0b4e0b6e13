"""Measure the noise floor: score the same pairs under two batch plans and compare scores, ranks and nDCG@10."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mrb import __version__
from mrb.data.task_data import find_query_parts
from mrb.evaluation import environment
from mrb.evaluation.check.probe import Probe, Scores, halve_reversed, make_probe_requests, score_batches, split_requests
from mrb.evaluation.check.score_noise import compute_spread
from mrb.evaluation.plan import Plan
from mrb.metrics.aggregation import average_queries
from mrb.metrics.measures import HEADLINE, measure_queries
from mrb.metrics.ranking import rank_candidates
from mrb.rerankers.calling import close_after
from mrb.rerankers.declaration import LoadedReranker, find_uncovered_inputs
from mrb.results.noise import NoiseRecord, TaskNoise

TOP = HEADLINE.cutoff
TOGETHER = "all requests at once, in the task's order"
ALONE = "each request by itself, from the last to the first"
HALVES = ALONE + ", its candidates from the last to the first in two halves"


def measure_noise(load: Callable[[], LoadedReranker], probe: Probe) -> NoiseRecord:
    """Score every covered task of `probe` under both batch plans with one instance, and return the noise record."""
    reranker = load()
    with close_after(reranker.close):
        tasks = {
            plan.data.task.id: _measure_task(plan, reranker)
            for plan in probe.plans
            if find_uncovered_inputs(reranker.info, plan.data.task) is None
        }
    return NoiseRecord(
        schema_version=1,
        mrb_version=__version__,
        reranker=reranker.info,
        plans=(TOGETHER, HALVES if reranker.info.kind == "pointwise" else ALONE),
        depth=max(plan.depth for plan in probe.plans),
        tasks=tasks,
        floor=float(np.mean([noise.mean_change for noise in tasks.values()])),
        environment=environment.describe_environment(),
    )


def _measure_task(plan: Plan, reranker: LoadedReranker) -> TaskNoise:
    task_id = plan.data.task.id
    first = score_batches(reranker, task_id, [make_probe_requests(plan, reranker)])
    apart = halve_reversed if reranker.info.kind == "pointwise" else split_requests
    second = score_batches(reranker, task_id, apart(make_probe_requests(plan, reranker, backwards=True)))
    before, after = _rank_candidates(plan, first), _rank_candidates(plan, second)
    ndcg = [_compute_ndcg(plan, ranking) for ranking in (before, after)]
    change = np.abs(ndcg[1] - ndcg[0])
    parts = find_query_parts(plan.data.task, plan.query_ids)
    return TaskNoise(
        candidates=plan.candidates.sha256,
        queries=len(plan.query_ids),
        pairs=plan.pairs,
        spread=compute_spread(first),
        largest_difference=max(abs(second[q][doc] - score) for q, of in first.items() for doc, score in of.items()),
        rank_changes=sum(a != b for q in before for a, b in zip(before[q], after[q], strict=True)),
        top_changes=sum(set(before[q][:TOP]) != set(after[q][:TOP]) for q in before),
        first=float(average_queries(ndcg[0], parts)),
        second=float(average_queries(ndcg[1], parts)),
        mean_change=float(average_queries(change, parts)),
        largest_change=float(change.max()),
    )


def _rank_candidates(plan: Plan, scores: Scores) -> dict[str, list[str]]:
    """Return {query id: document ids, best first} by the common ranking rule, for queries with candidates."""
    found = {}
    for query_id, of_query in scores.items():
        ids = list(of_query)
        order = rank_candidates(plan.data.task.id, query_id, ids, np.asarray(list(of_query.values()), np.float32))
        found[query_id] = [ids[position] for position in order]
    return found


def _compute_ndcg(plan: Plan, rankings: dict[str, list[str]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    qrels = {query_id: plan.data.qrels[query_id] for query_id in plan.query_ids}
    return measure_queries(rankings, qrels, [HEADLINE]).values[HEADLINE]
