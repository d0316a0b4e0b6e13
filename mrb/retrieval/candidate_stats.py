"""Measure a candidate list: its quality in first-stage order and in the best possible order (the oracle)."""

from __future__ import annotations

from dataclasses import dataclass

from mrb.candidates.lists import Candidates
from mrb.data.task_data import TaskData, find_query_parts
from mrb.metrics.aggregation import average_queries
from mrb.metrics.measures import HEADLINE, Measure, measure_queries, rank_by_grade

MAX_CUTOFF = 999  # the largest cutoff of a measure


@dataclass(frozen=True)
class Quality:
    """The task's means as fractions, over its parts if its score is a mean over parts.

    `ndcg` is nDCG@10 in first-stage order, `oracle` nDCG@10 of the oracle (the best order of the same documents), and
    `recall` is Recall@`cutoff`.
    """

    ndcg: float
    oracle: float
    recall: float
    cutoff: int


def measure_quality(candidates: Candidates, data: TaskData, depth: int) -> Quality:
    """Measure the first `depth` documents of each list. A query without a list counts as 0."""
    recall = Measure("Recall", min(depth, MAX_CUTOFF))
    order = {query_id: doc_ids[:depth] for query_id, doc_ids, _ in candidates.lists()}
    best = {query_id: rank_by_grade(doc_ids, data.qrels[query_id]) for query_id, doc_ids in order.items()}
    found = measure_queries(order, data.qrels, [HEADLINE, recall]).values
    oracle = measure_queries(best, data.qrels, [HEADLINE]).values[HEADLINE]
    parts = find_query_parts(data.task, data.qrels)
    own, best_own, recalled = (float(average_queries(v, parts)) for v in (found[HEADLINE], oracle, found[recall]))
    return Quality(own, best_own, recalled, recall.cutoff)


def format_counts(candidates: Candidates) -> str:
    """Return the number of lists and pairs as text."""
    return f"{len(candidates):,} lists, {candidates.pairs:,} pairs"


def format_quality(found: Quality, depth: int) -> str:
    """Return the measures of a list at a depth as text, in points of 100."""
    return (
        f"nDCG@10 {100 * found.ndcg:.2f} (oracle {100 * found.oracle:.2f}), "
        f"Recall@{found.cutoff} {100 * found.recall:.2f} at depth {depth}"
    )
