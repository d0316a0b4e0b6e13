"""The noise floor: the same pairs under two batch plans, and how far scores, ranks and nDCG@10 move."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mrb.check.compare import spread
from mrb.check.probe import Probe, Scores, answers, halved_backwards, one_by_one, requests
from mrb.declaration import LoadedReranker, not_covered
from mrb.evaluate import environment
from mrb.evaluate.plan import Plan
from mrb.files import write_json
from mrb.metrics import HEADLINE, per_query
from mrb.ranking import rank_candidates
from mrb.results import Fraction, Plain, RerankerInfo, read_model
from mrb.task import Model, Sha256, Slug

NOISE_FILE = "noise.json"
TOP = HEADLINE.cutoff
TOGETHER = "all requests at once, in the task's order"
ALONE = "each request by itself, from the last to the first"
HALVES = ALONE + ", its candidates from the last to the first in two halves"

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Number = Annotated[int, Field(ge=0)]


class TaskNoise(Model):
    """One task under both plans.

    `spread` is the standard deviation of the scores, `largest_difference` the largest change of one (of a listwise
    model: of a rank). `rank_changes` counts candidates whose rank differs, `top_changes` queries whose first ten
    candidates are not the same ones. `first` and `second` are nDCG@10 under the two plans, `mean_change` and
    `largest_change` the mean and the largest absolute change of a query's, all fractions.
    """

    candidates: Sha256
    queries: Number
    pairs: Number
    spread: Amount
    largest_difference: Amount
    rank_changes: Number
    top_changes: Number
    first: Fraction
    second: Fraction
    mean_change: Fraction
    largest_change: Fraction


class NoiseRecord(Model):
    """`noise.json`: what was asked, on what machine, and how far it moved. `floor` is the mean of the tasks'
    `mean_change`: differences of that size between two runs of one model say nothing."""

    schema_version: Literal[1]
    mrb_version: Plain
    reranker: RerankerInfo
    plans: tuple[Plain, Plain]
    depth: int = Field(gt=0)
    tasks: dict[Slug, TaskNoise]
    floor: Fraction
    environment: dict[Plain, Plain]


def measure_noise(load: Callable[[], LoadedReranker], probe: Probe) -> NoiseRecord:
    """Ask every covered task of `probe` under both plans, each answered by one and the same instance."""
    reranker = load()
    try:
        tasks = {
            plan.data.task.id: _task_noise(plan, reranker)
            for plan in probe.plans
            if not_covered(reranker.info, plan.data.task) is None
        }
    finally:
        reranker.close()
    return NoiseRecord(
        schema_version=1,
        mrb_version=version("mrb"),
        reranker=reranker.info,
        plans=(TOGETHER, HALVES if reranker.info.kind == "pointwise" else ALONE),
        depth=max(plan.depth for plan in probe.plans),
        tasks=tasks,
        floor=float(np.mean([noise.mean_change for noise in tasks.values()])),
        environment=environment.environment(),
    )


def write_noise(folder: Path, record: NoiseRecord) -> Path:
    """Write `noise.json` into a run's folder, whole or not at all; its path."""
    path = folder / NOISE_FILE
    write_json(path, record.model_dump(mode="json"))
    return path


def read_noise(path: Path) -> NoiseRecord:
    """The record in `path`. ResultError names the first field that does not fit."""
    return read_model(NoiseRecord, path)


def _task_noise(plan: Plan, reranker: LoadedReranker) -> TaskNoise:
    task_id = plan.data.task.id
    first = answers(reranker, task_id, [requests(plan, reranker)])
    apart = halved_backwards if reranker.info.kind == "pointwise" else one_by_one
    second = answers(reranker, task_id, apart(requests(plan, reranker, backwards=True)))
    before, after = _rankings(plan, first), _rankings(plan, second)
    ndcg = [_ndcg(plan, ranking) for ranking in (before, after)]
    change = np.abs(ndcg[1] - ndcg[0])
    return TaskNoise(
        candidates=plan.candidates.sha256,
        queries=len(plan.query_ids),
        pairs=plan.pairs,
        spread=spread(first),
        largest_difference=max(abs(second[q][doc] - score) for q, of in first.items() for doc, score in of.items()),
        rank_changes=sum(a != b for q in before for a, b in zip(before[q], after[q], strict=True)),
        top_changes=sum(set(before[q][:TOP]) != set(after[q][:TOP]) for q in before),
        first=float(ndcg[0].mean()),
        second=float(ndcg[1].mean()),
        mean_change=float(change.mean()),
        largest_change=float(change.max()),
    )


def _rankings(plan: Plan, scores: Scores) -> dict[str, list[str]]:
    """Document ids best first, by the one ranking rule, for each query that has candidates."""
    found = {}
    for query_id, of_query in scores.items():
        ids = list(of_query)
        order = rank_candidates(plan.data.task.id, query_id, ids, np.asarray(list(of_query.values()), np.float32))
        found[query_id] = [ids[position] for position in order]
    return found


def _ndcg(plan: Plan, rankings: dict[str, list[str]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    qrels = {query_id: plan.data.qrels[query_id] for query_id in plan.query_ids}
    return per_query(rankings, qrels, [HEADLINE]).values[HEADLINE]
