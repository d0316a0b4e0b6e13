"""How good a candidate list is before any reranker, and how good it could become."""

from __future__ import annotations

from dataclasses import dataclass

from mrb.candidates.lists import Candidates
from mrb.data.task_data import TaskData
from mrb.metrics.aggregation import parts_of, task_mean
from mrb.metrics.measures import HEADLINE, Measure, ceiling_ranking, per_query

MAX_CUTOFF = 999  # that a measure can have


@dataclass(frozen=True)
class Quality:
    """The task's means (over its parts where its score is theirs), as fractions: nDCG@10 in first-stage order, nDCG@10
    in the best order of the same documents (the ceiling of any reranker), and recall at the whole depth. `cutoff` is
    the depth that recall is at.
    """

    ndcg: float
    ceiling: float
    recall: float
    cutoff: int


def quality(candidates: Candidates, data: TaskData, depth: int) -> Quality:
    """The quality of the first `depth` documents of each list. A query without a list counts as 0."""
    recall = Measure("Recall", min(depth, MAX_CUTOFF))
    order = {query_id: doc_ids[:depth] for query_id, doc_ids, _ in candidates.lists()}
    best = {query_id: ceiling_ranking(doc_ids, data.qrels[query_id]) for query_id, doc_ids in order.items()}
    found = per_query(order, data.qrels, [HEADLINE, recall]).values
    ceiling = per_query(best, data.qrels, [HEADLINE]).values[HEADLINE]
    parts = parts_of(data.task, data.qrels)
    own, best_own, recalled = (float(task_mean(v, parts)) for v in (found[HEADLINE], ceiling, found[recall]))
    return Quality(own, best_own, recalled, recall.cutoff)
