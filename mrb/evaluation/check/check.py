"""Check a reranker: score the same pairs in several ways, compare the scores, and report what does not hold.

For each property two scorings differ in that property alone, so a difference identifies the cause:

    name        second scoring                                             what a difference depends on
    twice       the same requests again                                    hidden state or randomness
    order       the requests in reverse order                              the place in a batch
    alone       each request in its own batch                              the other requests in a batch
    candidates  `alone`, with the candidates in reverse order              the place in the list    (pointwise)
    set         `alone`, with a subset of the candidates; two short        the other candidates     (pointwise)
                texts in one request, then each alone
    fresh       `order`, by a second instance                              earlier requests
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from mrb.errors import AdapterError
from mrb.evaluation.check.probe import (
    Probe,
    Scores,
    make_probe_requests,
    make_short_pair,
    reverse_candidates,
    score_batches,
    split_requests,
    thin_candidates,
)
from mrb.evaluation.check.score_noise import Difference, compare_scores, compute_spread, is_drift
from mrb.evaluation.plan import Plan
from mrb.rerankers.calling import close_after
from mrb.rerankers.declaration import LoadedReranker, find_uncovered_inputs
from mrb.rerankers.ties import compute_tied_share
from mrb.results.schema import RerankerInfo

Property = Literal["twice", "order", "alone", "candidates", "set", "fresh"]
PROPERTIES: tuple[Property, ...] = ("twice", "order", "alone", "candidates", "set", "fresh")

# If the first property is broken, differences in the others may have the same cause and are not reported.
_SHADOWS: dict[Property, tuple[Property, ...]] = {
    "twice": ("order", "alone", "candidates", "set", "fresh"),
    "order": ("alone",),
    "candidates": ("set",),
}
_TOLD: dict[Property, str] = {
    "twice": "hidden state or chance: the same request, asked twice, got two answers",
    "order": "batch order dependence: the answer changes when the requests come from the last to the first",
    "alone": "batch dependence: the answer changes when a request is scored without the others",
    "candidates": "candidate order dependence: declared pointwise, but a pair's score changes with its place in the "
    "list; if that is meant, declare kind = 'setwise'",
    "set": "set dependence: declared pointwise, but a pair's score changes with the other candidates; if that is "
    "meant, declare kind = 'setwise'",
    "fresh": "hidden state: a second instance, asked the same requests, gives another answer, so a resumed run would "
    "mix two models",
}


@dataclass(frozen=True)
class TaskCheck:
    """The check of one task.

    `seconds` is the duration of the first scoring, `tied` the share of its requests whose candidates all tied, and
    `found` the differences by property.
    """

    task_id: str
    type: str
    requests: int
    pairs: int
    seconds: float
    tied: float
    found: Mapping[Property, tuple[Difference, ...]]

    def largest(self, name: Property) -> Difference | None:
        """Return the largest difference of a property, or None if it was not checked."""
        return max(self.found.get(name, ()), key=lambda difference: difference.size, default=None)


@dataclass(frozen=True)
class CheckOutcome:
    """The result of a check.

    `not_covered` and `elsewhere` are {task id: reason} of tasks that were not checked. `broken` has a line for each
    declaration that does not hold.
    """

    info: RerankerInfo
    tasks: tuple[TaskCheck, ...]
    not_covered: Mapping[str, str]
    elsewhere: Mapping[str, str]
    broken: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """True if all scorings of all tasks were bit-identical."""
        return all(d.size == 0 for task in self.tasks for found in task.found.values() for d in found)

    def __repr__(self) -> str:
        return f"<check of {self.info.name}: {len(self.broken) or 'none'} of its declarations broken>"

    def __str__(self) -> str:
        from mrb.evaluation.check.report import format_check, format_verdict

        return "\n".join([format_check(self), *(self.broken or [format_verdict(self)])])


def check(load: Callable[[], LoadedReranker], probe: Probe, *, fresh: bool = True) -> CheckOutcome:
    """Check the reranker that `load` builds on the plans of `probe` and return the result.

    If `fresh` is true, a second instance is built after the first is closed, and scores too. Raises AdapterError if the
    adapter raises, breaks its contract (a wrong count, a NaN, no permutation) or covers none of the tasks.
    """
    reranker = load()
    with close_after(reranker.close):
        info = reranker.info
        refused = {plan.data.task.id: find_uncovered_inputs(info, plan.data.task) for plan in probe.plans}
        plans = [plan for plan in probe.plans if refused[plan.data.task.id] is None]
        if not plans:
            raise AdapterError(f"{info.name}: takes {info.inputs.format()}, which none of the tasks is made of")
        _warm_up(reranker, plans[0])
        first = [_TaskChecker(plan, reranker) for plan in plans]
    if fresh:
        del reranker  # frees its memory before the second instance is built
        _ask_fresh(load, first)
    tasks = tuple(asking.make_outcome() for asking in first)
    reasons = {task_id: reason for task_id, reason in refused.items() if reason is not None}
    return CheckOutcome(info, tasks, reasons, probe.elsewhere, tuple(_find_broken(info, tasks)))


class _TaskChecker:
    """The scores of one task by the first instance, and their differences."""

    def __init__(self, plan: Plan, reranker: LoadedReranker) -> None:
        self.plan = plan
        self.info = reranker.info
        self.found: dict[Property, tuple[Difference, ...]] = {}
        started = time.perf_counter()
        base = self._ask_scores(reranker)
        self.seconds = time.perf_counter() - started
        self.scale = compute_spread(base)
        self.tied = compute_tied_share(of_query.values() for of_query in base.values())
        self._compare("twice", base, self._ask_scores(reranker))
        self.backwards = self._ask_scores(reranker, backwards=True)
        self._compare("order", base, self.backwards)
        task_id = plan.data.task.id
        alone = score_batches(reranker, task_id, split_requests(make_probe_requests(plan, reranker)))
        self._compare("alone", base, alone)
        if self.info.kind == "pointwise":
            self._compare(
                "candidates",
                alone,
                score_batches(reranker, task_id, reverse_candidates(make_probe_requests(plan, reranker))),
            )
            self._compare(
                "set", alone, score_batches(reranker, task_id, thin_candidates(make_probe_requests(plan, reranker)))
            )
        if {plan.data.task.query_modality, plan.data.task.document_modality} == {"text"}:
            self._ask_short(reranker)

    def _ask_short(self, reranker: LoadedReranker) -> None:
        """Score two short texts of different lengths in one request and, if declared pointwise, each alone."""
        task_id = self.plan.data.task.id
        pair = make_short_pair(make_probe_requests(self.plan, reranker)[0])
        together = score_batches(reranker, task_id, [[pair]])
        if self.info.kind == "pointwise":
            alone = score_batches(reranker, task_id, ([pair.subset([place], 0)] for place in range(len(pair.order))))
            self.found["set"] += tuple(compare_scores(self.info.kind, task_id, alone, together, self.scale))

    def ask_fresh(self, reranker: LoadedReranker) -> None:
        """Compare a second instance with the first, with the requests in reverse order, which the first saw too."""
        self._compare("fresh", self.backwards, self._ask_scores(reranker, backwards=True))

    def make_outcome(self) -> TaskCheck:
        task = self.plan.data.task
        return TaskCheck(
            task.id, task.type, len(self.plan.query_ids), self.plan.pairs, self.seconds, self.tied, self.found
        )

    def _ask_scores(self, reranker: LoadedReranker, *, backwards: bool = False) -> Scores:
        return score_batches(
            reranker, self.plan.data.task.id, [make_probe_requests(self.plan, reranker, backwards=backwards)]
        )

    def _compare(self, name: Property, before: Scores, after: Scores) -> None:
        self.found[name] = tuple(compare_scores(self.info.kind, self.plan.data.task.id, before, after, self.scale))


def _ask_fresh(load: Callable[[], LoadedReranker], first: Iterable[_TaskChecker]) -> None:
    second = load()
    with close_after(second.close):
        for asking in first:
            asking.ask_fresh(second)


def _warm_up(reranker: LoadedReranker, plan: Plan) -> None:
    """Score one request before timing, so that loading or compiling at the first request does not count."""
    score_batches(reranker, plan.data.task.id, split_requests(make_probe_requests(plan, reranker)[:1]))


def _find_broken(info: RerankerInfo, tasks: Iterable[TaskCheck]) -> list[str]:
    """Return a line for each property that does not hold, with the largest difference."""
    found: dict[Property, list[Difference]] = {name: [] for name in PROPERTIES}
    for task in tasks:
        for name, differences in task.found.items():
            found[name].extend(differences)
    lines: list[str] = []
    shadowed: set[Property] = set()
    for name in PROPERTIES:
        drift = name in ("twice", "fresh") and is_drift(found[name])
        if name in shadowed or not (drift or any(difference.broken for difference in found[name])):
            continue
        shadowed.update(_SHADOWS.get(name, ()))
        lines.append(f"{info.name}: {_TOLD[name]}: {_format_differences(found[name], drift=drift)}")
    everything = [difference for differences in found.values() for difference in differences]
    if info.batch_invariant and not lines and any(difference.size for difference in everything):
        lines.append(
            f"{info.name}: declared batch_invariant, but the bits of its scores depend on how requests are batched: "
            f"{_format_differences(everything)}; leave the declaration out"
        )
    return lines


def _format_differences(differences: Iterable[Difference], *, drift: bool = False) -> str:
    worst = max(differences, key=lambda difference: difference.size)
    where = f"task {worst.task_id}, query {worst.query_id!r}"
    if worst.doc_id is None:
        return f"{where}: {worst.size:.0%} of the candidate pairs change places"
    seen = f"{where}, candidate {worst.doc_id!r}: {worst.before:.6g}, then {worst.after:.6g}"
    return f"{seen} (small, but every request moved the same way)" if drift and not worst.broken else seen
