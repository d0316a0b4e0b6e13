"""`mrb run --dry-run`: what a run would need, whether its data is sound, and how long it may take; nothing is written.

Everything that can be wrong with the data is found before the model is loaded: ids, candidate lists, and the header of
every image that will be shown. Only then the model is built, and timed on a few pairs of each task.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mrb.columns import aligned
from mrb.declaration import LoadedReranker, load_reranker, not_covered
from mrb.evaluate.extent import Extent, examine, extent_text, registered_text
from mrb.evaluate.plan import Asked, Plan, asked
from mrb.evaluate.run import RunOptions
from mrb.evaluate.score import score_all

PROBE_SECONDS = 1.0
"""About how long a task's probe may take; at least one pair is always scored."""
PROBE_PAIRS = 512
MARGIN = 1.25
"""What few pairs do not show (longer texts, larger images) may make a run so much slower or faster."""
MARGIN_OF_ONE = 2.0
"""The same where only one measurement fitted into the time."""


@dataclass(frozen=True)
class Speed:
    """Pairs per second: the slowest and fastest that a probe of `pairs` pairs makes likely."""

    slow: float
    fast: float
    pairs: int


def dry_run(options: RunOptions, say: Callable[[str], None]) -> None:
    """Check the data of a run, then time the model; `say` takes the report, a piece at a time.

    DataError or CandidatesError names what is wrong with the data; the model is not loaded then, nor where no task has
    its data at hand.
    """
    extents, registered = examine(options)
    if extents:
        say(extent_text(extents))
    if registered:
        say(registered_text(registered))
    if not extents:
        say("no estimate: there is nothing at hand to time the model on, so it was not loaded")
        return
    reranker = load_reranker(options.model, options.options)
    try:
        refused = {extent.task.id: not_covered(reranker.info, extent.task) for extent in extents}
        covered = [extent for extent in extents if refused[extent.task.id] is None and extent.plan.pairs]
        speeds = [probe(reranker, extent.plan) for extent in covered]
    finally:
        reranker.close()
    for task_id, reason in refused.items():
        if reason is not None:
            say(f"{task_id}: not covered: {reason}")
    say(estimate_text(reranker.info.name, covered, speeds))


def probe(reranker: LoadedReranker, plan: Plan) -> Speed:
    """Time groups of 1, 2, 4, ... pairs of new queries until PROBE_SECONDS would be over.

    The first group is left out where there are others: it pays for what a model loads or compiles when it starts. Small
    groups are slower a pair, so only the last three count.
    """
    info = reranker.info
    requests = asked(plan, plan.entries(), info.kind, uses_first_stage=info.uses_first_stage)
    rates: list[float] = []
    pairs, spent = 0, 0.0
    started = time.perf_counter()
    for group in _groups(requests):  # making requests is part of a run's time too
        count = sum(len(item.order) for item in group)
        if rates and spent + count / rates[-1] > PROBE_SECONDS:
            break
        for _ in score_all(reranker, group, plan.data.task.id):
            pass
        now = time.perf_counter()
        seconds = max(now - started, 1e-9)
        pairs, spent, started = pairs + count, spent + seconds, now
        rates.append(count / seconds)
    last = rates[1:][-3:] or rates
    margin = MARGIN if len(last) > 1 else MARGIN_OF_ONE
    return Speed(min(last) / margin, max(last) * margin, pairs)


def estimate_text(name: str, extents: Sequence[Extent], speeds: Sequence[Speed]) -> str:
    """Pairs per second and time for each task that was probed, and the sum."""
    if not extents:
        return f"{name} takes none of these tasks; nothing was written"
    rows = [("task", "pairs", "pairs/s", "time", "probe")]
    low = high = 0.0
    for extent, speed in zip(extents, speeds, strict=True):
        pairs = extent.plan.pairs
        low, high = low + pairs / speed.fast, high + pairs / speed.slow
        times = f"{_time(pairs / speed.fast)} - {_time(pairs / speed.slow)}"
        rates = f"{_rate(speed.slow)} - {_rate(speed.fast)}"
        rows.append((extent.task.id, f"{pairs:,}", rates, times, f"{speed.pairs} pairs"))
    total = f"{name}: {_time(low)} - {_time(high)} of scoring on this machine, without loading; nothing was written"
    return "\n".join([*aligned(rows), total])


def _groups(requests: Iterator[Asked]) -> Iterator[Sequence[Asked]]:
    """Groups of 1, 2, 4, ... up to PROBE_PAIRS pairs, each of requests that no other group has; the last may lack
    some."""
    size = 1
    while size <= PROBE_PAIRS:
        group: list[Asked] = []
        missing = size
        while missing and (item := next(requests, None)) is not None:
            count = min(missing, len(item.order))
            group.append(item.part(range(count), len(group)))
            missing -= count
        if not group:
            return
        yield group
        size *= 2


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:,.1f} h"
