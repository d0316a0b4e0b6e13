"""Compute a `Result` from scores: rank the candidates, measure every query, and give every mean an interval."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mrb.data.task_data import Qrels, find_query_parts
from mrb.evaluation.plan import Entry, Float32, Plan
from mrb.metrics.aggregation import average_queries
from mrb.metrics.measures import MEASURES, measure_queries, rank_by_grade
from mrb.metrics.ranking import has_tie_at_cutoff, rank_candidates
from mrb.metrics.statistics import compute_intervals, derive_task_seed
from mrb.results.schema import CLUSTER_COLUMN, CandidatesInfo, Interval, Measures, RerankerInfo, Result, RunCounts

BLOCK = 2000
"""Number of queries measured at a time, which bounds the memory for rankings."""
CURVE_DEPTHS = (10, 25, 50, 100)
CUTOFF = max(measure.cutoff for measure in MEASURES)
TIE_CUTOFF = 10

Float64 = npt.NDArray[np.float64]
Values = dict[str, Float64]


@dataclass(frozen=True)
class TaskResult:
    """A task's result and its values per query.

    `per_query` has the columns `query_id`, `cluster` (number of the query's cluster, int64) and one float64 column per
    measure.
    """

    result: Result
    per_query: pa.Table


@dataclass(frozen=True)
class _Rankings:
    """The first CUTOFF documents of one query in each order that is measured. No measure uses more of them."""

    orders: Mapping[str, Sequence[str]]
    tied: bool


def measure(plan: Plan, scores: Mapping[str, Float32], info: RerankerInfo) -> TaskResult:
    """Return the result of `scores` and the values per query.

    Args:
        plan: The queries and their candidates.
        scores: Query id -> float32 scores in first-stage order, NaN for a failed pair; complete for the plan.
        info: What the reranker declares. A pointwise one is measured at the smaller CURVE_DEPTHS too.
    """
    depths = [depth for depth in CURVE_DEPTHS if depth < plan.depth] if info.kind == "pointwise" else []
    values, tied = _measure_queries(plan, scores, [*depths, plan.depth])
    clusters, parts = number_clusters(plan), find_query_parts(plan.data.task, plan.query_ids)
    rows = [values[name] for name in (str(plan.depth), "first_stage", "oracle")]
    own, first_stage, oracle = _compute_intervals(plan, rows, clusters, parts)
    made = plan.candidates.provenance
    result = Result(
        schema_version=1,
        task=plan.data.task.id,
        task_hash=plan.data.task.hash,
        reranker=info,
        candidates=CandidatesInfo(
            sha256=plan.candidates.sha256,
            first_stage=made.first_stage,
            track=made.track,
            list_depth=made.depth,
            depth=plan.depth,
        ),
        data=plan.info,
        counts=RunCounts(
            queries=len(plan.query_ids),
            pairs=plan.pairs,
            queries_without_candidates=sum(not plan.size(query_id) for query_id in plan.query_ids),
            self_matches_removed=plan.self_matches,
            failed_pairs=_count_failed(plan, scores),
            tied_at_10=tied / len(plan.query_ids),
        ),
        source_measure=plan.data.task.source_measure,
        measures=own,
        first_stage=first_stage,
        oracle=oracle,
        depths={
            str(depth): {name: float(average_queries(v, parts)) for name, v in values[str(depth)].items()}
            for depth in [*depths, plan.depth]
        },
    )
    columns = {"query_id": pa.array(plan.query_ids, pa.string()), CLUSTER_COLUMN: pa.array(clusters, pa.int64())}
    columns |= {name: pa.array(column) for name, column in values[str(plan.depth)].items()}
    return TaskResult(result, pa.table(columns))


def _measure_queries(plan: Plan, scores: Mapping[str, Float32], depths: list[int]) -> tuple[dict[str, Values], int]:
    """Return values per query (plan order) for each depth, the first stage and the oracle, and the number of queries
    tied at rank TIE_CUTOFF."""
    blocks: list[dict[str, Values]] = []
    tied = 0
    entries = plan.entries()
    while block := list(itertools.islice(entries, BLOCK)):
        rankings = {entry.query_id: _rank_entry(plan, entry, scores, depths) for entry in block}
        tied += sum(ranking.tied for ranking in rankings.values())
        qrels = {query_id: plan.data.qrels[query_id] for query_id in rankings}
        names = next(iter(rankings.values())).orders
        blocks.append(
            {
                name: _measure_rankings({q: ranking.orders[name] for q, ranking in rankings.items()}, qrels)
                for name in names
            }
        )
    return {name: _join_blocks([block[name] for block in blocks]) for name in blocks[0]}, tied


def _measure_rankings(rankings: Mapping[str, Sequence[str]], qrels: Qrels) -> Values:
    return {str(name): values for name, values in measure_queries(rankings, qrels).values.items()}


def _join_blocks(blocks: list[Values]) -> Values:
    return {measure: np.concatenate([block[measure] for block in blocks]) for measure in blocks[0]}


def _rank_entry(plan: Plan, entry: Entry, scores: Mapping[str, Float32], depths: list[int]) -> _Rankings:
    ids, qrels = entry.doc_ids, plan.data.qrels[entry.query_id]
    given = scores.get(entry.query_id, np.empty(0, np.float32))[: len(ids)]
    order = rank_candidates(plan.data.task.id, entry.query_id, ids, given, failed=np.isnan(given), ties=entry.ties)
    orders: dict[str, Sequence[str]] = {}
    for depth in depths:
        # Scores and ties do not depend on other candidates, so the ranking of the shorter list is a subsequence.
        best = (order if depth >= len(order) else order[order < depth])[:CUTOFF].tolist()
        orders[str(depth)] = [ids[position] for position in best]
    orders["first_stage"] = ids[:CUTOFF]
    orders["oracle"] = rank_by_grade(ids, qrels)[:CUTOFF]
    return _Rankings(orders, has_tie_at_cutoff(given[order], TIE_CUTOFF))


def _compute_intervals(
    plan: Plan, rows: list[Values], clusters: list[int], parts: tuple[str, ...] | None
) -> list[Measures]:
    """Return each row's means with intervals. All rows share one resampling: drawing costs more than summing."""
    columns = np.column_stack([column for values in rows for column in values.values()])
    keys = [str(number) for number in clusters]
    found = iter(compute_intervals(columns, keys, parts, seed=derive_task_seed(plan.data.task.id)))
    return [{name: Interval.from_mean(own) for name, own in zip(values, found, strict=False)} for values in rows]


def _count_failed(plan: Plan, scores: Mapping[str, Float32]) -> int:
    """Return how many pairs of the plan have no score; there are some only with `--allow-failures`."""
    return sum(int(np.isnan(scores[q][: plan.depth]).sum()) for q in plan.query_ids if q in scores)


def number_clusters(plan: Plan) -> list[int]:
    """Return each query's cluster number, in plan order; numbers count from 0 by first occurrence. Without clusters,
    each query is its own cluster."""
    clusters = plan.data.clusters
    numbers: dict[str, int] = {}
    keys = plan.query_ids if clusters is None else [clusters[query_id] for query_id in plan.query_ids]
    return [numbers.setdefault(key, len(numbers)) for key in keys]
