"""The identity of scores: which runs may share a journal."""

from __future__ import annotations

from collections.abc import Mapping

from mrb._util.hashing import hash_json
from mrb.evaluation.journal import Header
from mrb.evaluation.plan import Plan
from mrb.results.schema import RerankerInfo


def compute_score_key(plan: Plan, info: RerankerInfo) -> str:
    """Return the identity of scores (64 hex digits): two runs with the same key may share a journal.

    It includes the depth unless the reranker is pointwise: then a deeper run only scores the missing candidates.
    """
    return hash_json(
        {
            "task": plan.data.task.id,
            "task_hash": plan.data.task.hash,
            "revision": plan.data.task.revision,
            "candidates": plan.candidates.sha256,
            "depth": None if info.kind == "pointwise" else plan.depth,
            "reranker": info.identity(),
        }
    )


def make_header(plan: Plan, info: RerankerInfo, packages: Mapping[str, str]) -> Header:
    """Return the header of the journal for a plan's scores; `packages` are those of the process that scores."""
    return Header(
        score_key=compute_score_key(plan, info),
        task=plan.data.task.id,
        reranker=info.name,
        source_sha256=info.source_sha256,
        packages=dict(packages),
    )
