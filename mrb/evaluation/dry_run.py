"""`mrb run --dry-run`: check the data of a run and estimate what it takes. Nothing is written.

The data is checked before the model is loaded: ids, candidate lists, and the header of every image that the model will
see. Then the model is loaded, its `check_item` (if it has one) is called for each item, and it is timed on a few pairs
of each task.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mrb._util.format import PLAIN, Screen, fold_text, format_reasons, format_size
from mrb.data.task import Task
from mrb.errors import MRBError
from mrb.evaluation.estimate import (
    Range,
    Rates,
    TaskEstimate,
    count_from_registry,
    estimate_run,
    estimate_scoring,
    find_rate,
    format_estimate,
)
from mrb.evaluation.plan import Plan, PlannedRequest, make_requests
from mrb.evaluation.score import score_all
from mrb.evaluation.spec import RunSpec
from mrb.evaluation.workload import Extent, check_items, examine, examine_stand_ins, format_extents
from mrb.rerankers.calling import close_after
from mrb.rerankers.declaration import LoadedReranker, find_uncovered_inputs, load_reranker

PROBE_SECONDS = 1.0
"""Approximate time limit of the probe of one task; at least one pair is always scored."""
PROBE_PAIRS = 512
MARGIN = 1.25
"""Factor by which a run may be slower or faster than the probe: its few pairs miss longer texts and larger images."""
MARGIN_OF_ONE = 2.0
"""The same factor where only one measurement fitted into the time limit."""
PROBED = (
    "Tasks on the Hub: sizes are the registry's, no data was read (`mrb data pull` fetches it). Rates are those on the "
    "embedded task of the same type, whose texts and images may be smaller; --rate N sets one."
)
ASSUMED = "Workers are taken as equally fast; loading the model, fetching data and idle workers are not included."


@dataclass(frozen=True)
class Probe:
    """The estimated seconds of scoring a plan in one process, and the number of pairs that were timed."""

    seconds: Range
    pairs: int


def report_dry_run(
    spec: RunSpec,
    rates: Rates | None = None,
    *,
    source: str = "given",
    workers: int = 1,
    price: float | None = None,
    screen: Screen = PLAIN,
) -> Iterator[str]:
    """Check the data of a run, time the model, and yield the report in pieces.

    With `rates` neither data nor model is loaded: all sizes come from the registry. Without, tasks on the Hub are
    estimated with the speed of the model on the embedded data of the same type.

    Args:
        spec: The run.
        rates: Pairs per second of one worker.
        source: Where the rates come from, for the report.
        workers: Workers that share the run.
        price: Price of one worker for an hour.
        screen: The width that tables and texts fit.

    Raises:
        DataError: The data is damaged; raised before the model is loaded, like CandidatesError.
        CandidatesError: A list is missing or does not fit its task.
        MRBError: `rates` has none for any of the tasks, or the model cannot score an item.
    """

    def fold(text: str) -> str:
        return "\n".join(fold_text(text, screen))

    if rates is not None:
        rows = estimate_run(spec, rates)
        if all(row.seconds is None for row in rows):
            types = ", ".join(dict.fromkeys(task.type for task in spec.tasks))
            raise MRBError(f"no rate for any of these tasks, which are of type {types}: --rate TYPE=N sets one")
        yield format_estimate(rows, "pairs", "scoring", workers, price, screen)
        yield fold(
            f"Sizes are the registry's; rates are {source.removesuffix('.')}. "
            f"Neither data nor model was loaded. {ASSUMED}"
        )
        yield fold("Memory is not known without loading the model.")
        return
    extents = examine(spec)
    if extents:
        yield format_extents(extents, screen)
    far = [task for task in spec.tasks if task.source.kind == "hub"]
    reranker = load_reranker(spec.model, spec.options)
    with close_after(reranker.close):
        probes = _probe_extents(reranker, extents)
        elsewhere = _probe_extents(reranker, examine_stand_ins({task.type for task in far}) if far else ())
        memory = describe_peak_memory()
    refused = {task.id: find_uncovered_inputs(reranker.info, task) for task in spec.tasks}
    reasons = {task_id: f"not covered: {reason}" for task_id, reason in refused.items() if reason}
    yield from map(fold, format_reasons(reasons))
    if not probes and not elsewhere:
        yield fold(f"{reranker.info.name} supports none of these tasks; nothing was written")
        return
    rates = {extent.task.id: _compute_rate(extent, probe) for extent, probe in probes}
    rates |= {extent.task.type: _compute_rate(extent, probe) for extent, probe in elsewhere}
    counts = {e.task.id: {"queries": len(e.plan.query_ids), "pairs": e.plan.pairs} for e in extents}

    def row_of(task: Task) -> TaskEstimate:
        known = counts.get(task.id) or count_from_registry(task, spec)
        covered = refused[task.id] is None
        return estimate_scoring(task, known, find_rate(rates, task) if covered else None)

    yield format_estimate([row_of(task) for task in spec.tasks], "pairs", "scoring", workers, price, screen)
    pairs = sum(probe.pairs for _, probe in (*probes, *elsewhere))
    timed = f"{pairs:,} pairs timed on this machine in one process"
    yield fold(f"{reranker.info.name}: {timed}; nothing was written. {ASSUMED}")
    if far:
        yield fold(PROBED)
    yield fold(f"Memory of a worker: {memory}, the peak of this process while it was timed.")


def measure_peak_memory() -> float | None:
    """Return the largest memory that this process has had, in gigabytes; None where that is not known."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


def describe_peak_memory() -> str:
    """Return the largest memory that this process has had, and that torch has had on the GPU, if it used one."""
    found = format_size(measure_peak_memory())
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found += f" and {format_size(torch.cuda.max_memory_allocated() / 1e9)} on the GPU"
    return found


def _probe_extents(reranker: LoadedReranker, extents: Sequence[Extent]) -> list[tuple[Extent, Probe]]:
    """Probe the tasks that the reranker covers. MRBError: it cannot score an item."""
    covered = [e for e in extents if find_uncovered_inputs(reranker.info, e.task) is None and e.plan.pairs]
    if callable(check := getattr(reranker.target, "check_item", None)):
        for extent in covered:
            check_items(extent.plan, check)
    return [(extent, probe(reranker, extent)) for extent in covered]


def _compute_rate(extent: Extent, probed: Probe) -> Range:
    """Return the pairs per second."""
    return Range(extent.plan.pairs / probed.seconds.high, extent.plan.pairs / probed.seconds.low)


def probe(reranker: LoadedReranker, extent: Extent) -> Probe:
    """Time groups of 1, 2, 4, ... pairs until the next group would exceed PROBE_SECONDS.

    Each group is timed twice: as it is, then with the same documents under other queries. The difference is
    the cost of a new document (decoding, features that the adapter caches); the rest is the cost of every pair. The
    first group includes loading and compilation, and small groups are slower per pair. So only the last three groups
    count, and the first one only if there is no other.
    """
    plan, info = extent.plan, reranker.info
    totals: list[float] = []
    seen: set[str] = set()
    earlier: PlannedRequest | None = None
    pairs, spent, rate = 0, 0.0, 0.0
    for group in _groups(make_requests(plan, plan.entries(), info.kind, uses_first_stage=info.uses_first_stage)):
        count = sum(len(item.order) for item in group)
        if earlier is not None and spent + 2 * count / rate > PROBE_SECONDS:
            break
        new = {doc_id for item in group for doc_id in item.entry.doc_ids} - seen
        first = again = _time_scoring(reranker, group, plan)
        if earlier is not None:
            again = min(first, _time_scoring(reranker, _exchanged(group, earlier), plan))
        totals.append(extent.documents * (first - again) / max(len(new), 1) + plan.pairs * again / count)
        seen |= new
        earlier, rate = group[-1], count / first
        pairs, spent = pairs + count, spent + first + again
    last = totals[1:][-3:] or totals
    margin = MARGIN if len(last) > 1 else MARGIN_OF_ONE
    return Probe(Range(min(last) / margin, max(last) * margin), pairs)


def _time_scoring(reranker: LoadedReranker, group: Sequence[PlannedRequest], plan: Plan) -> float:
    """Score the group and return the seconds that it took, never 0."""
    started = time.perf_counter()
    for _ in score_all(reranker, group, plan.data.task.id):
        pass
    return max(time.perf_counter() - started, 1e-9)


def _exchanged(group: Sequence[PlannedRequest], earlier: PlannedRequest) -> list[PlannedRequest]:
    """Return the group with each request's query replaced by that of the request before it."""
    before = [earlier, *group]
    return [
        replace(item, request=replace(item.request, query=other.request.query))
        for item, other in zip(group, before, strict=False)
    ]


def _groups(requests: Iterator[PlannedRequest]) -> Iterator[Sequence[PlannedRequest]]:
    """Yield disjoint groups of 1, 2, 4, ... up to PROBE_PAIRS pairs; the last group may be smaller."""
    size = 1
    while size <= PROBE_PAIRS:
        group: list[PlannedRequest] = []
        missing = size
        while missing and (item := next(requests, None)) is not None:
            count = min(missing, len(item.order))
            group.append(item.subset(range(count), len(group)))
            missing -= count
        if not group:
            return
        yield group
        size *= 2
