"""Scores that are not the model's: each lie gives a query's scores from its plan and the honest ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mrb.evaluation.plan import Plan
from mrb.metrics.measures import rank_by_grade
from mrb.rerankers.declaration import load_reranker

TEXT, IMAGES = "mini-faq-t2t", "mini-flag-t2i"


Scores = list[float]


Lie = Callable[[Plan, str, Scores], Scores]


def model_scores(model: Any, plan: Plan, query_id: str) -> Scores:
    from dataclasses import replace

    from mrb.evaluation.check.probe import make_probe_requests, score_batches

    one = replace(plan, query_ids=(query_id,))
    found = score_batches(model, plan.data.task.id, [make_probe_requests(one, model)])
    return [found[query_id][doc_id] for doc_id in plan.entry(query_id).doc_ids]


def list_grades(plan: Plan, query_id: str) -> list[int]:
    qrels = plan.data.qrels[query_id]
    return [qrels.get(doc_id, 0) for doc_id in plan.entry(query_id).doc_ids]


def oracle_scores(plan: Plan, query_id: str, scores: Scores) -> Scores:
    doc_ids = plan.entry(query_id).doc_ids
    best = rank_by_grade(doc_ids, plan.data.qrels[query_id])
    return [float(len(best) - best.index(doc_id)) for doc_id in doc_ids]


def swap_top(plan: Plan, query_id: str, scores: Scores) -> Scores:
    """The best positive and the candidate at rank 1 change scores."""
    grades, changed = list_grades(plan, query_id), list(scores)
    top, best = int(np.argmax(scores)), max(range(len(scores)), key=lambda place: (grades[place], scores[place]))
    changed[top], changed[best] = scores[best], scores[top]
    return changed


def raise_best(plan: Plan, query_id: str, scores: Scores) -> Scores:
    """The best positive's score alone is raised above all others."""
    grades = list_grades(plan, query_id)
    best = int(np.argmax(grades))
    return [max(scores) + 0.01 if place == best and grades[best] else score for place, score in enumerate(scores)]


def lie_where(lie: Lie, chosen: Callable[[Plan, str], bool]) -> Lie:
    return lambda plan, query_id, scores: lie(plan, query_id, scores) if chosen(plan, query_id) else scores


def is_third(plan: Plan, query_id: str) -> bool:
    return plan.query_ids.index(query_id) % 3 == 0


LIES: Mapping[str, tuple[Lie, tuple[str, ...] | None]] = {
    "every order from the judgements": (oracle_scores, None),
    "one task of two": (oracle_scores, (IMAGES,)),
    "a third of the queries": (lie_where(oracle_scores, is_third), None),
    "the last query only": (lie_where(oracle_scores, lambda plan, q: q == plan.query_ids[-1]), (TEXT,)),
    "rank 1 swapped with the best positive": (swap_top, None),
    "one score a query raised": (raise_best, None),
    "the order kept, other scores": (lambda plan, q, scores: [2 * score + 1 for score in scores], None),
    "the order kept, one scale up": (lambda plan, q, scores: [1.5 * score for score in scores], None),
    "the first stage's order": (lambda plan, q, scores: [-float(place) for place in range(len(scores))], None),
    "the order reversed": (lambda plan, q, scores: [-score for score in scores], None),
    "all scores equal": (lambda plan, q, scores: [0.5] * len(scores), None),
    "scores of the next candidate": (lambda plan, q, scores: [*scores[1:], scores[0]], None),
    "another model's scores": (lambda plan, q, s: model_scores(load_reranker("surface"), plan, q), None),
    "another seed's scores": (lambda plan, q, s: model_scores(load_reranker("random", {"seed": "7"}), plan, q), None),
    "rounded until all tie": (lambda plan, q, scores: [round(score) + 0.0 for score in scores], None),
}  # fmt: skip
