"""Scores that a journal holds, and entries of a plan that are not scored yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from mrb._util.hashing import sha256_json
from mrb.errors import ResultError
from mrb.evaluation.journal import Record
from mrb.evaluation.plan import Entry, Float32, Plan
from mrb.results.schema import RerankerInfo

_NONE = np.empty(0, np.float32)


def score_key(plan: Plan, info: RerankerInfo) -> str:
    """Return the identity of scores (64 hex digits): two runs with the same key may share a journal.

    It includes the depth unless the reranker is pointwise: then a deeper run only scores the missing candidates.
    """
    return sha256_json(
        {
            "task": plan.data.task.id,
            "task_hash": plan.data.task.hash,
            "revision": plan.data.task.revision,
            "candidates": plan.candidates.sha256,
            "depth": None if info.kind == "pointwise" else plan.depth,
            "reranker": info.identity(),
        }
    )


def held_scores(records: Iterable[Record], where: Path) -> dict[str, Float32]:
    """Return query id -> float32 scores of first-stage positions 0, 1, ... ResultError if a record leaves a gap."""
    held: dict[str, Float32] = {}
    for record in records:
        before = held.get(record.query_id, _NONE)
        if record.first != len(before):
            raise ResultError(
                f"{where}: query {record.query_id!r} goes on at position {record.first}, not {len(before)}"
            )
        held[record.query_id] = np.concatenate([before, record.scores])
    return held


def missing(plan: Plan, held: Mapping[str, Float32]) -> Iterator[Entry]:
    """Yield, for each query that lacks scores, the entry with its unscored candidates.

    A pointwise journal may hold the head of a list. For other kinds the score key includes the depth, so their journal
    holds all candidates of a query or none.
    """
    for query_id in plan.query_ids:
        first = len(held.get(query_id, _NONE))
        if first < plan.size(query_id):
            yield plan.entry(query_id).tail(first)
