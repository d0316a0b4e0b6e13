"""The probe: a few queries of each task, and the ways in which the same pairs are asked again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mrb.candidates import lists
from mrb.data.items import Item
from mrb.data.load import load_task_data
from mrb.data.task import Sample, Task
from mrb.errors import CandidatesError, DataError
from mrb.evaluation.plan import Asked, Plan, asked, make_plan
from mrb.evaluation.score import score_all
from mrb.evaluation.selection import Selection, has_candidates, load_candidates, needed
from mrb.hub.pull_data import at_hand
from mrb.rerankers.declaration import LoadedReranker

CHECK_QUERIES = 3
CHECK_DEPTH = 8
NOISE_QUERIES = 20

NO_LIST = "its data lies on the Hub and no candidate list is given (--candidates)"
NOT_HERE = "its data is not on this disk (`mrb data pull` fetches it)"

_SHORT = (Item("two"), Item("one two three four five six seven eight"))

Scores = dict[str, dict[str, float]]
"""Query id -> document id -> float32 score (a Python float of the same value)."""

Batches = Iterable[Sequence[Asked]]


@dataclass(frozen=True)
class Probe:
    """A plan of few queries for each task whose data is at hand; `elsewhere` says of each other task why it is not."""

    plans: tuple[Plan, ...]
    elsewhere: Mapping[str, str]


def make_probe(selection: Selection, given: Path | None, *, queries: int, depth: int) -> Probe:
    """`queries` queries of each task, chosen by their hash, with `depth` candidates (or the selection's, if fewer).

    `given` is a candidate list or a folder of them, as `mrb run --candidates` takes it. Tasks of the Hub are asked
    about where they have a list and their files are on this disk: a check fetches nothing. DataError if no task is
    left; CandidatesError as in `mrb run`, and for a list without the queries chosen.
    """
    reasons = {task.id: _elsewhere(task, given) for task in selection.tasks}
    elsewhere = {task_id: reason for task_id, reason in reasons.items() if reason is not None}
    if len(elsewhere) == len(selection.tasks):
        first = selection.tasks[0].id
        raise DataError(f"task {first}: {elsewhere[first]}; `mrb check` asks the embedded suite by itself")
    depth = min(depth, selection.depth)
    plans = []
    for task in selection.tasks:
        if task.id in elsewhere:
            continue
        candidates = load_candidates(task, given, depth)
        data = load_task_data(task, needed=needed(candidates))
        lists.check_ids(candidates, data.queries.rows, data.corpus.rows, f"candidates of {task.id}")
        plan = make_plan(data, candidates, depth, sample=Sample(queries=queries))
        if not plan.pairs:
            raise CandidatesError(f"candidates of {task.id}: none for the {queries} queries of the probe")
        plans.append(plan)
    return Probe(tuple(plans), elsewhere)


def _elsewhere(task: Task, given: Path | None) -> str | None:
    """Why a check cannot ask about the task; None where it can."""
    if task.source.kind != "hub":
        return None
    if not has_candidates(task, given):
        return NO_LIST
    return None if at_hand(task) else NOT_HERE


def requests(plan: Plan, reranker: LoadedReranker, *, backwards: bool = False) -> list[Asked]:
    """New requests for the plan's queries, in its order or from the last to the first."""
    entries = list(plan.entries())
    if backwards:
        entries.reverse()
    info = reranker.info
    return list(asked(plan, entries, info.kind, uses_first_stage=info.uses_first_stage))


def one_by_one(items: Iterable[Asked]) -> Iterator[list[Asked]]:
    """Each request as a batch of its own: the adapter sees no other beside it."""
    return ([item] for item in items)


def turned(items: Iterable[Asked]) -> Iterator[list[Asked]]:
    """Each request by itself, its candidates from the last to the first."""
    return ([item.part(range(len(item.order))[::-1], 0)] for item in items)


def thinned(items: Iterable[Asked]) -> Iterator[list[Asked]]:
    """For each request two smaller ones: every other candidate, and one candidate alone."""
    for item in items:
        count = len(item.order)
        yield [item.part(range(0, count, 2), 0)]
        if count > 1:
            yield [item.part([1], 0)]


def halved_backwards(items: Iterable[Asked]) -> Iterator[list[Asked]]:
    """Each request as two, its candidates from the last to the first, one half after the other."""
    for item in items:
        backwards = range(len(item.order))[::-1]
        middle = len(backwards) // 2
        for half in (backwards[:middle], backwards[middle:]):
            if half:
                yield [item.part(half, 0)]


def short_pair(item: Asked) -> Asked:
    """The request with its first two candidates, and short texts of different lengths in place of all of its own: an
    adapter that batches by tokens pads them in one batch, which long texts never share."""
    pair = item.part(range(min(2, len(item.order))), 0)
    shown = _SHORT[: len(pair.order)]
    return replace(pair, request=replace(pair.request, query=Item("one"), candidates=shown))


def answers(reranker: LoadedReranker, task_id: str, batches: Batches) -> Scores:
    """The scores of all requests, each batch handed to the adapter by itself; its broken answers are AdapterErrors."""
    found: Scores = {}
    for batch in batches:
        for item, scores in score_all(reranker, batch, task_id):
            pairs = zip(item.entry.doc_ids, scores.tolist(), strict=True)
            found.setdefault(item.entry.query_id, {}).update(pairs)
    return found
