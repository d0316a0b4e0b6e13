"""The contamination check: a model's gain on a set against its gain on the set's decontaminated twin."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from mrb._util.format import PLAIN, Screen, fold_text, format_table
from mrb.metrics.measures import HEADLINE
from mrb.metrics.statistics import MeanInterval, compute_interval, derive_task_seed
from mrb.results.run import Run, TaskScores
from mrb.results.schema import Result

MEASURE = str(HEADLINE)
EXPLANATION = (
    "If a model gains on the set but not on its twin, it may have seen the set in training. The scores are "
    "those of the queries that both have; the twin's corpus is smaller, so they rise for any model: compare "
    "models, and changes of gains."
)


@dataclass(frozen=True)
class TwinCheck:
    """A model on a set and on its twin, as fractions of nDCG@10.

    Attributes:
        run: Name of the run with the set.
        task: The set.
        twin: Its decontaminated twin.
        gain: Of the run on the set, over the first stage.
        twin_gain: On the twin.
        common: Number of queries that both have values for; 0 for submissions, whose values are not read.
        scores: Means over the common queries on the set and on the twin; None without such.
        difference: Mean and 95 % interval of twin minus set over the common queries; None with fewer than two.
    """

    run: str
    task: str
    twin: str
    gain: float
    twin_gain: float
    common: int
    scores: tuple[float, float] | None
    difference: MeanInterval | None

    @property
    def gain_difference(self) -> float:
        """The twin's gain minus the set's. Below zero: less is gained where known data is left out."""
        return self.twin_gain - self.gain


@dataclass(frozen=True)
class LeftOut:
    """A set and its twin of one reranker that are not compared, by the names of their runs, and what differs."""

    run: str
    task: str
    twin_run: str
    twin: str
    reason: str


def compare_twins(runs: Sequence[Run]) -> tuple[list[TwinCheck], list[LeftOut]]:
    """Return the checks and the pairs that are left out, sorted by twin and run: the order of `runs` does not count.

    A set and its twin are in one run or in two, whose rerankers have the same identity. Candidate set, first stage,
    depth, choice of queries and judgements must be equal. Of several runs with the set, that of the twin is taken, else
    the first by name.
    """
    ordered = sorted(runs, key=lambda run: (run.name, run.where))
    checks: list[TwinCheck] = []
    left_out: list[LeftOut] = []
    for run in ordered:
        for twin_id, twin in run.tasks.items():
            whole_id = twin.task.twin_of
            if whole_id is None:
                continue
            others = (run, *(one for one in ordered if one is not run and _identify(one) == _identify(run)))
            having = [other for other in others if whole_id in other]
            fitting = next((other for other in having if not _describe_differences(other[whole_id], twin)), None)
            if fitting is not None:
                checks.append(_check(fitting.name, whole_id, fitting[whole_id], twin_id, twin))
                continue
            left_out += [
                LeftOut(other.name, whole_id, run.name, twin_id, _describe_differences(other[whole_id], twin))
                for other in having
            ]
    return sorted(checks, key=lambda one: (one.twin, one.run)), sorted(left_out, key=astuple)


def _describe_differences(whole: TaskScores, twin: TaskScores) -> str:
    """Return why the gains of two results do not compare; empty if they do."""
    fields: dict[str, Callable[[Result], object]] = {
        "candidate set": lambda result: result.candidates.track,
        "first stage": lambda result: result.candidates.first_stage,
        "depth": lambda result: result.candidates.depth,
        "selection": lambda result: result.data.selection,
        "qrels": lambda result: result.data.qrels,
    }
    pairs = ((name, read(whole.result), read(twin.result)) for name, read in fields.items())
    return ", ".join(f"{name} {one} and {other}" for name, one, other in pairs if one != other)


def describe_left_out(left_out: Sequence[LeftOut]) -> list[str]:
    """Return a line for each pair that is left out."""
    return [f"Left out: {one.task} in {one.run} and {one.twin} in {one.twin_run}: {one.reason}" for one in left_out]


def _identify(run: Run) -> str:
    return json.dumps(run.record.reranker.identity(), sort_keys=True)


def _check(name: str, task_id: str, whole: TaskScores, twin_id: str, twin: TaskScores) -> TwinCheck:
    gains = []
    for scores in (whole, twin):
        found = scores.result.measures[MEASURE]
        gains.append(found.mean - scores.result.first_stage[MEASURE].mean)
    rows = {query_id: row for row, query_id in enumerate(whole.query_ids)}
    places = [(rows[query_id], row) for row, query_id in enumerate(twin.query_ids) if query_id in rows]
    if not places:
        return TwinCheck(name, task_id, twin_id, gains[0], gains[1], 0, None, None)
    whole_rows, twin_rows = np.array(places).T
    own, other = whole.values[MEASURE][whole_rows], twin.values[MEASURE][twin_rows]
    clusters = [str(cluster) for cluster in whole.clusters[whole_rows]]
    paired = len(set(clusters)) > 1
    interval = compute_interval(other - own, clusters, seed=derive_task_seed(twin_id)) if paired else None
    means = (float(own.mean()), float(other.mean()))
    return TwinCheck(name, task_id, twin_id, gains[0], gains[1], len(places), means, interval)


def format_twin_checks(checks: Sequence[TwinCheck], screen: Screen = PLAIN, left_out: Sequence[LeftOut] = ()) -> str:
    """Return the checks as a text table, x 100, with what it says, and the pairs that are left out."""
    head = (
        "run",
        "set",
        "gain",
        "twin gain",
        "change",
        "queries",
        "score",
        "twin score",
        "score change",
        "95 % interval",
    )
    rows = [head, *(tuple(format_cells(check)) for check in checks)]
    table = format_table(rows, left=2, drop=("score", "twin score", "queries"), screen=screen)
    told = [line for text in (EXPLANATION, *describe_left_out(left_out)) for line in fold_text(text, screen)]
    return "\n".join([f"{MEASURE} x 100", "", *table, "", *told])


def format_cells(check: TwinCheck) -> list[str]:
    """Return the cells of a check: run, set, gains, their difference, and what the common queries say; "-" for none."""
    gains = (check.gain, check.twin_gain, check.gain_difference)
    cells = [check.run, check.task, *(f"{100 * one:+.2f}" for one in gains)]
    scores = ["-", "-"] if check.scores is None else [f"{100 * one:.2f}" for one in check.scores]
    found = check.difference
    difference = ["-", "-"]
    if found is not None:
        difference = [f"{100 * found.mean:+.2f}", f"[{100 * found.low:+.2f}, {100 * found.high:+.2f}]"]
    return [*cells, str(check.common or "-"), *scores, *difference]
