"""Before a run uses scores of an earlier call, it scores a few of them again, and these must agree.

No hash covers everything that a score depends on: a model behind a URL, a file that an adapter reads, a package.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mrb.errors import ResultError
from mrb.evaluation.executor import Executor, Score
from mrb.evaluation.failures import FailureBudget
from mrb.evaluation.journal import Header, Journal
from mrb.evaluation.plan import Entry, Float32, Plan
from mrb.evaluation.spec import TaskSpec

logger = logging.getLogger(__name__)

SAMPLE = 4
"""Number of queries scored again. A few suffice: a changed prompt or model changes the scores of every query."""
PAIRS = 8
"""Number of pairs of each of these queries, for pointwise rerankers."""
TOLERANCE = 1e-3
"""Largest difference accepted as numerical noise, as a share of the range (maximum - minimum) of the task's scores."""
ROUNDING = 1e-6
"""The same for an adapter that declares `batch_invariant`: another machine may round differently."""
NOISE_FACTOR = 4.0
"""For adapters whose scores depend on the batch: the accepted difference is this factor times the difference between
batches that is measured now, ..."""
MAX_NOISE_SHARE = 0.05
"""... but at most this share of the range."""


@dataclass(frozen=True)
class KeptScoresCheck:
    """Checks scores of an earlier call.

    `executor` scores again, `noise` is the largest difference that `mrb check --noise` has stored (0 if none),
    `tolerant` says whether pairs may fail.
    """

    executor: Executor
    noise: float
    tolerant: bool

    def verify_scores(self, spec: TaskSpec, plan: Plan, journal: Journal, changed: str = "") -> None:
        """Score a few pairs of the plan's queries in the journal again; do nothing if none of them has a score.

        `changed` says what is known to have changed. Raises ResultError, which names the pair that differs most and
        what to do.
        """
        executor, task_id, kept = self.executor, spec.task.id, journal.scores
        chosen = _sample_entries(plan, kept, pointwise=executor.info.kind == "pointwise")
        if not chosen:
            return
        again = "1 query is" if len(chosen) == 1 else f"{len(chosen)} queries are"
        logger.info(f"{task_id}: {changed or 'checking kept scores'}: {again} scored again")
        score = executor.open(spec, plan)
        now = self._score_again(score, chosen)
        values = np.concatenate([scores[np.isfinite(scores)] for scores in kept.values()])
        spread = max(float(np.ptp(values)), 0.01 * float(np.abs(values).max()), 1e-9)
        invariant = executor.info.batch_invariant
        allowed = max((ROUNDING if invariant else TOLERANCE) * spread, self.noise)
        if _find_worst(chosen, now, kept)[0] <= allowed:
            return
        if not invariant:
            # Score again query by query, as whole lists. For an unchanged model the difference to the first attempt is
            # the noise between batches.
            whole = [plan.entry(entry.query_id).head(len(kept[entry.query_id])) for entry in chosen]
            alone = self._score_again(score, whole, at_once=1)
            apart = {e.query_id: alone[e.query_id][e.first : e.first + len(e.doc_ids)] for e in chosen}
            own = max(_find_largest(now[query_id] - apart[query_id]) for query_id in apart)
            allowed = max(allowed, min(NOISE_FACTOR * own, MAX_NOISE_SHARE * spread))
            chosen, now = whole, alone
        difference, entry, position = _find_worst(chosen, now, kept)
        if difference <= allowed:
            return
        hint = "" if invariant else "; where a model's scores move by themselves, mrb check --noise measures how far"
        raise ResultError(
            f"{journal.path}: task {task_id}, query {entry.query_id!r}, candidate {entry.doc_ids[position]!r} scored "
            f"{kept[entry.query_id][entry.first + position]} and scores {now[entry.query_id][position]} now"
            f"{changed and f' ({changed})'}: not the same model's; --fresh starts over, or give another --name{hint}"
        )

    def _score_again(self, score: Score, entries: Sequence[Entry], at_once: int = SAMPLE) -> dict[str, Float32]:
        """Return query id -> the scores of the entry, NaN for pairs that fail. ResultError if all pairs fail."""
        found: dict[str, Float32] = {}
        for first in range(0, len(entries), at_once):
            group = entries[first : first + at_once]
            budget = FailureBudget(sum(len(entry.doc_ids) for entry in group)) if self.tolerant else None
            found |= {record.query_id: record.scores for record in score(group, budget)}
        if all(np.isnan(scores).all() for scores in found.values()):
            raise ResultError(f"query {entries[0].query_id!r}: was scored before and fails now, as all that were tried")
        return found


def describe_changes(before: Header, now: Header) -> str:
    """Return the differences as text, empty if there are none. Packages that only one run had imported are ignored."""
    changed = ["the adapter's source changed"] if before.source_sha256 != now.source_sha256 else []
    for name in sorted(before.packages.keys() & now.packages.keys()):
        if before.packages[name] != now.packages[name]:
            changed.append(f"{name} went from {before.packages[name]} to {now.packages[name]}")
    return f"since these scores were written, {', '.join(changed)}" if changed else ""


def _sample_entries(plan: Plan, kept: Mapping[str, Float32], *, pointwise: bool) -> list[Entry]:
    """Return up to SAMPLE scored queries of the plan, with all candidates or, if pointwise, PAIRS adjacent ones."""
    scored = [q for q in plan.query_ids if q in kept and np.isfinite(kept[q][: plan.size(q)]).any()]
    chosen = scored[:: max(1, len(scored) // SAMPLE)][:SAMPLE]
    entries = [plan.entry(query_id) for query_id in chosen]
    return [_choose_telling_pairs(entry, kept[entry.query_id]) for entry in entries] if pointwise else entries


def _choose_telling_pairs(entry: Entry, scores: Float32) -> Entry:
    """Return PAIRS adjacent candidates around the score furthest from the query's median: pairs with equal scores would
    not show a change."""
    scores = scores[: len(entry.doc_ids)]
    away = np.abs(scores - np.nanmedian(scores))
    first = min(max(0, int(np.nanargmax(away)) - PAIRS // 2), max(0, len(scores) - PAIRS))
    return entry.head(min(first + PAIRS, len(scores))).tail(first)


def _find_worst(
    entries: Sequence[Entry], now: Mapping[str, Float32], kept: Mapping[str, Float32]
) -> tuple[float, Entry, int]:
    """Return (difference, entry, position in it) of the pair whose score changed most; failed pairs are left out."""
    found = []
    for entry in entries:
        before = kept[entry.query_id][entry.first : entry.first + len(entry.doc_ids)]
        difference = np.nan_to_num(np.abs(now[entry.query_id] - before))
        position = int(np.argmax(difference))
        found.append((float(difference[position]), entry, position))
    return max(found, key=lambda one: one[0])


def _find_largest(differences: Float32) -> float:
    return float(np.nan_to_num(np.abs(differences)).max())
