"""The probe of a check: a few queries of each task, and the batches in which the same pairs are scored again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mrb.candidates.load import has_candidates
from mrb.data.items import Item
from mrb.data.pull_data import is_local
from mrb.data.task import Sample, Task
from mrb.errors import CandidatesError, DataError
from mrb.evaluation.plan import Plan, PlannedRequest, load_plan, make_requests
from mrb.evaluation.score import score_all
from mrb.evaluation.spec import RunSpec, TaskSpec
from mrb.rerankers.declaration import LoadedReranker

CHECK_QUERIES = 3
CHECK_DEPTH = 8
NOISE_QUERIES = 20

NO_LIST = "its data lies on the Hub and no candidate list is given (--candidates)"
NOT_HERE = "its data is not on this disk (`mrb data pull` fetches it)"

_SHORT = (Item("two"), Item("one two three four five six seven eight"))

Scores = dict[str, dict[str, float]]
"""{query id: {document id: score}}; a score is a float32 value as a Python float."""

Batches = Iterable[Sequence[PlannedRequest]]


@dataclass(frozen=True)
class Probe:
    """A plan with few queries for each task with local data; `elsewhere` is {task id: reason} of the other tasks."""

    plans: tuple[Plan, ...]
    elsewhere: Mapping[str, str]


def make_probe(spec: RunSpec, *, queries: int, depth: int) -> Probe:
    """Plan `queries` queries of each task, sampled by hash, with `depth` candidates (or the depth of `spec`, if fewer).

    A Hub task is included if it has a list and its files are on disk, because a check downloads nothing. Raises
    DataError if no task is left, and CandidatesError as `mrb run` does or for a list without the sampled queries.
    """
    reasons = {task.id: _find_obstacle(task, spec.candidates) for task in spec.tasks}
    elsewhere = {task_id: reason for task_id, reason in reasons.items() if reason is not None}
    if len(elsewhere) == len(spec.tasks):
        first = spec.tasks[0].id
        raise DataError(f"task {first}: {elsewhere[first]}; `mrb check` asks the embedded suite by itself")
    depth = min(depth, spec.depth)
    plans = []
    for task in spec.tasks:
        if task.id in elsewhere:
            continue
        plan = load_plan(TaskSpec(task, depth, spec.candidates, sample=Sample(queries=queries)))
        if not plan.pairs:
            raise CandidatesError(f"candidates of {task.id}: none for the {queries} queries of the probe")
        plans.append(plan)
    return Probe(tuple(plans), elsewhere)


def _find_obstacle(task: Task, given: Path | None) -> str | None:
    """Return why the task cannot be checked, or None if it can."""
    if task.source.kind != "hub":
        return None
    if not has_candidates(task, given):
        return NO_LIST
    return None if is_local(task) else NOT_HERE


def make_probe_requests(plan: Plan, reranker: LoadedReranker, *, backwards: bool = False) -> list[PlannedRequest]:
    """Return new requests for the plan's queries, in its order or in reverse order."""
    entries = list(plan.entries())
    if backwards:
        entries.reverse()
    info = reranker.info
    return list(make_requests(plan, entries, info.kind, uses_first_stage=info.uses_first_stage))


def split_requests(items: Iterable[PlannedRequest]) -> Iterator[list[PlannedRequest]]:
    """Yield each request as its own batch."""
    return ([item] for item in items)


def reverse_candidates(items: Iterable[PlannedRequest]) -> Iterator[list[PlannedRequest]]:
    """Yield each request as its own batch, with its candidates in reverse order."""
    return ([item.subset(range(len(item.order))[::-1], 0)] for item in items)


def thin_candidates(items: Iterable[PlannedRequest]) -> Iterator[list[PlannedRequest]]:
    """Yield two smaller requests for each: one with every other candidate, one with a single candidate."""
    for item in items:
        count = len(item.order)
        yield [item.subset(range(0, count, 2), 0)]
        if count > 1:
            yield [item.subset([1], 0)]


def halve_reversed(items: Iterable[PlannedRequest]) -> Iterator[list[PlannedRequest]]:
    """Yield each request as two, one for each half of its candidates in reverse order."""
    for item in items:
        backwards = range(len(item.order))[::-1]
        middle = len(backwards) // 2
        for half in (backwards[:middle], backwards[middle:]):
            if half:
                yield [item.subset(half, 0)]


def make_short_pair(item: PlannedRequest) -> PlannedRequest:
    """Return the request with its first two candidates and with short texts of different lengths instead of its own.

    An adapter that batches by tokens pads such texts in one batch, which long texts never share.
    """
    pair = item.subset(range(min(2, len(item.order))), 0)
    shown = _SHORT[: len(pair.order)]
    return replace(pair, request=replace(pair.request, query=Item("one"), candidates=shown))


def score_batches(reranker: LoadedReranker, task_id: str, batches: Batches) -> Scores:
    """Score all requests, one batch after the other. Raises AdapterError if an answer breaks the contract."""
    found: Scores = {}
    for batch in batches:
        for item, scores in score_all(reranker, batch, task_id):
            pairs = zip(item.entry.doc_ids, scores.tolist(), strict=True)
            found.setdefault(item.entry.query_id, {}).update(pairs)
    return found
