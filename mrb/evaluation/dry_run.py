"""`mrb run --dry-run`: check the data of a run and estimate its size and time. Nothing is written.

The data is checked before the model is loaded: ids, candidate lists, and the header of every image that the model will
see. Then the model is loaded, its `check_item` (if it has one) is called for each item, and it is timed on a few pairs
of each task.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mrb._util.format import format_duration, format_rate, format_table
from mrb.evaluation.plan import Asked, Plan, asked
from mrb.evaluation.registry_estimate import Speed, registered, registered_text
from mrb.evaluation.run import RunOptions
from mrb.evaluation.score import score_all
from mrb.evaluation.workload import Extent, check_items, examine, extent_text, stand_ins
from mrb.rerankers.calling import closed_after
from mrb.rerankers.declaration import LoadedReranker, load_reranker, not_covered

PROBE_SECONDS = 1.0
"""Approximate time limit of the probe of one task; at least one pair is always scored."""
PROBE_PAIRS = 512
MARGIN = 1.25
"""Factor by which a run may be slower or faster than the probe: its few pairs miss longer texts and larger images."""
MARGIN_OF_ONE = 2.0
"""The same factor where only one measurement fitted into the time limit."""
PROBED = (
    "sizes are the registry's: the data lies on the Hub (`mrb data pull` fetches it) and was not read. The rate was "
    "probed on the embedded suite's task of the same type, whose texts and pictures may be smaller; --rate N names one"
)


@dataclass(frozen=True)
class Estimate:
    """Lower and upper estimate of the seconds that scoring a plan takes, from a probe of `pairs` pairs."""

    low: float
    high: float
    pairs: int


def dry_run(options: RunOptions, say: Callable[[str], None], rate: float | None = None) -> None:
    """Check the data of a run, then time the model. `say` is called with each piece of the report.

    With `rate` (pairs per second) neither data nor model is loaded: all sizes come from the registry. Without it, tasks
    on the Hub are estimated with the speed of the model on the embedded suite's data of the same type.

    Raises DataError or CandidatesError, which names what is wrong with the data, before the model is loaded.
    """
    selection = options.selection
    if rate is not None:
        entries = registered(selection.tasks, selection, options.limit)
        say(registered_text(entries, {task.type: Speed(rate, rate) for task in selection.tasks}))
        say(f"the registry's numbers at {rate:g} pairs a second; neither data nor model was loaded")
        return
    extents = examine(options)
    if extents:
        say(extent_text(extents))
    far = [task for task in selection.tasks if task.source.kind == "hub"]
    others = stand_ins({task.type for task in far}) if far else ()
    reranker = load_reranker(options.model, options.options)
    with closed_after(reranker.close):
        timed, elsewhere = _timed(reranker, extents), _timed(reranker, others)
    for task in selection.tasks:
        if (reason := not_covered(reranker.info, task)) is not None:
            say(f"{task.id}: not covered: {reason}")
    if extents:
        say(estimate_text(reranker.info.name, *timed))
    if far:
        say(registered_text(registered(far, selection, options.limit), _speeds(*elsewhere)))
        say(PROBED)


def probed_speeds(model: str, options: Mapping[str, str], types: Collection[str]) -> dict[str, Speed]:
    """Return the speed of a model on the embedded suite's data, by type; types that it does not cover are left out.

    Raises the errors of `load_reranker`.
    """
    reranker = load_reranker(model, options)
    with closed_after(reranker.close):
        return _speeds(*_timed(reranker, stand_ins(types)))


def _timed(reranker: LoadedReranker, extents: Sequence[Extent]) -> tuple[list[Extent], list[Estimate]]:
    """Return the tasks that the reranker covers and the time estimate of each. MRBError: it cannot score an item."""
    covered = [e for e in extents if not_covered(reranker.info, e.task) is None and e.plan.pairs]
    if callable(check := getattr(reranker.target, "check_item", None)):
        for extent in covered:
            check_items(extent.plan, check)
    return covered, [probe(reranker, extent) for extent in covered]


def _speeds(extents: Sequence[Extent], estimates: Sequence[Estimate]) -> dict[str, Speed]:
    """Return pairs per second by type."""
    return {
        extent.task.type: Speed(extent.plan.pairs / estimate.high, extent.plan.pairs / estimate.low)
        for extent, estimate in zip(extents, estimates, strict=True)
    }


def probe(reranker: LoadedReranker, extent: Extent) -> Estimate:
    """Time groups of 1, 2, 4, ... pairs until the next group would exceed PROBE_SECONDS.

    Each group is timed twice: as it is, then with the same documents under other queries. The difference is
    the cost of a new document (decoding, features that the adapter caches); the rest is the cost of every pair. The
    first group includes loading and compilation, and small groups are slower per pair. So only the last three groups
    count, and the first one only if there is no other.
    """
    plan, info = extent.plan, reranker.info
    totals: list[float] = []
    seen: set[str] = set()
    earlier: Asked | None = None
    pairs, spent, rate = 0, 0.0, 0.0
    for group in _groups(asked(plan, plan.entries(), info.kind, uses_first_stage=info.uses_first_stage)):
        count = sum(len(item.order) for item in group)
        if earlier is not None and spent + 2 * count / rate > PROBE_SECONDS:
            break
        new = {doc_id for item in group for doc_id in item.entry.doc_ids} - seen
        first = again = _seconds(reranker, group, plan)
        if earlier is not None:
            again = min(first, _seconds(reranker, _exchanged(group, earlier), plan))
        totals.append(extent.documents * (first - again) / max(len(new), 1) + plan.pairs * again / count)
        seen |= new
        earlier, rate = group[-1], count / first
        pairs, spent = pairs + count, spent + first + again
    last = totals[1:][-3:] or totals
    margin = MARGIN if len(last) > 1 else MARGIN_OF_ONE
    return Estimate(min(last) / margin, max(last) * margin, pairs)


def estimate_text(name: str, extents: Sequence[Extent], estimates: Sequence[Estimate]) -> str:
    """Return a table with time and pairs per second for each probed task, and a line with the sum."""
    if not extents:
        return f"{name} takes none of these tasks; nothing was written"
    rows = [("task", "pairs", "time", "pairs/s", "probe")]
    for extent, estimate in zip(extents, estimates, strict=True):
        pairs = extent.plan.pairs
        times = f"{format_duration(estimate.low)} - {format_duration(estimate.high)}"
        rates = f"{format_rate(pairs / estimate.high)} - {format_rate(pairs / estimate.low)}"
        rows.append((extent.task.id, f"{pairs:,}", times, rates, f"{estimate.pairs} pairs"))
    low, high = sum(estimate.low for estimate in estimates), sum(estimate.high for estimate in estimates)
    time = f"{format_duration(low)} - {format_duration(high)}"
    total = f"{name}: {time} of scoring on this machine, without loading; nothing was written"
    return "\n".join([*format_table(rows), total])


def _seconds(reranker: LoadedReranker, group: Sequence[Asked], plan: Plan) -> float:
    """Score the group and return the seconds that it took, never 0."""
    started = time.perf_counter()
    for _ in score_all(reranker, group, plan.data.task.id):
        pass
    return max(time.perf_counter() - started, 1e-9)


def _exchanged(group: Sequence[Asked], earlier: Asked) -> list[Asked]:
    """Return the group with each request's query replaced by that of the request before it."""
    before = [earlier, *group]
    return [
        replace(item, request=replace(item.request, query=other.request.query))
        for item, other in zip(group, before, strict=False)
    ]


def _groups(requests: Iterator[Asked]) -> Iterator[Sequence[Asked]]:
    """Yield disjoint groups of 1, 2, 4, ... up to PROBE_PAIRS pairs; the last group may be smaller."""
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
