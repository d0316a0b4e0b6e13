"""Adapters as text and as objects: loaded, refused in one line, asked for the scores of a plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mrb.errors import AdapterError
from mrb.evaluation.plan import Plan, make_requests
from mrb.evaluation.score import score_all
from mrb.rerankers.declaration import LoadedReranker, read_declarations
from mrb.rerankers.plugins import Adapter, load_adapter
from tests.builders.command import read_error

Write = Callable[[str, str], Path]

SCORER = """
class Scorer:
    def score(self, request):
        return [1.0 for _ in request]
"""


def refused(spec: str, options: dict[str, str] | None = None) -> str:
    return read_error(AdapterError, load_adapter, spec, options or {})


def toy_reranker(target: Any) -> LoadedReranker:
    """The object or function `target` as the reranker `toy`."""
    return read_declarations(Adapter("toy", target, {}, "test", None))


def score_plan(target: Any, plan: Plan) -> dict[str, list[float]]:
    """The scores that `target` gives, by query, in the order of the first stage."""
    loaded = toy_reranker(target)
    requests = make_requests(plan, plan.entries(), loaded.info.kind, uses_first_stage=loaded.info.uses_first_stage)
    try:
        return {item.entry.query_id: [float(s) for s in scores] for item, scores in score_all(loaded, requests, "toy")}
    finally:
        loaded.close()
