"""Going on with a journal after the adapter's source or a package changed: a small sample is scored again first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mrb.errors import ResultError
from mrb.evaluate.choice import Choice
from mrb.evaluate.executor import Executor
from mrb.evaluate.plan import Float32, Plan
from mrb.journal import Header, Replay, rewrite

SAMPLE = 4
"""Queries scored again: few enough to cost nothing beside a run, and a changed prompt or model moves every one."""
TOLERANCE = 1e-3
"""Largest difference taken for numerical noise, as a share of the spread of the sample's scores."""


def agree_or_refuse(
    choice: Choice,
    plan: Plan,
    executor: Executor,
    found: Replay,
    header: Header,
    held: Mapping[str, Float32],
    journal: Path,
    say: Callable[[str], None],
) -> None:
    """Do nothing if `found` was written by the same source and packages as `header` says run now.

    Else score a sample of the held queries again: if it agrees, the journal's header is renewed and the run goes on;
    if it does not, ResultError names the pair and says how to start fresh. The old scores are never mixed with new
    ones that differ.
    """
    assert found.header is not None
    changed = _changes(found.header, header)
    whole = (query_id for query_id in plan.query_ids if len(held.get(query_id, ())))
    scored = [query_id for query_id in whole if not np.isnan(held[query_id]).any()]
    if not changed or not scored:
        return
    chosen = scored[:: max(1, len(scored) // SAMPLE)][:SAMPLE]
    sample = [plan.entry(query_id).head(len(held[query_id])) for query_id in chosen]
    told = ", ".join(changed)
    say(f"{plan.data.task.id}: since these scores were written, {told}; scoring {len(sample)} queries again")
    score = executor.open(choice, plan)
    for record in score(sample):
        scores, before = record.scores, held[record.query_id][: len(record.scores)]
        allowed = 0.0 if executor.info.batch_invariant else TOLERANCE * max(float(np.ptp(before)), 1e-6)
        worst = int(np.argmax(np.abs(scores - before)))
        if abs(float(scores[worst]) - float(before[worst])) > allowed:
            raise ResultError(
                f"{journal}: query {record.query_id!r}, candidate {plan.entry(record.query_id).doc_ids[worst]!r} "
                f"scored {before[worst]} and scores {scores[worst]} now ({told}); "
                "--fresh starts over, or give another --name"
            )
    rewrite(journal, header, found.records)


def _changes(before: Header, now: Header) -> list[str]:
    """What differs, in words; packages that only one of the two runs had imported say nothing."""
    changed = ["the adapter's source changed"] if before.source_sha256 != now.source_sha256 else []
    for name in sorted(before.packages.keys() & now.packages.keys()):
        if before.packages[name] != now.packages[name]:
            changed.append(f"{name} went from {before.packages[name]} to {now.packages[name]}")
    return changed
