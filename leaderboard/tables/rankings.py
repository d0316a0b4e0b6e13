"""Rankings for the explorer: each run's order of each query's candidates, for tasks whose data ships with MRB.

Nothing in a run's files is trusted: scores must be those of the frozen list, orders must be permutations of it, and the
resulting measure must average to the number that the run states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from mrb._util.parquet import read_untrusted
from mrb.data.task import Task, load_suite
from mrb.data.task_data import find_query_parts
from mrb.errors import ResultError
from mrb.evaluation.plan import Plan
from mrb.evaluation.recompute import load_result_plan
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.per_query_cache import compute_first_values, compute_headline_values
from mrb.metrics.aggregation import average_queries
from mrb.metrics.measures import HEADLINE
from mrb.metrics.ranking import Float32, Positions, rank_candidates
from mrb.results.run import Run, hash_query_ids
from mrb.results.schema import SCORES_FILE, SCORES_SCHEMA
from mrb.submission.rankings import restore_scores
from mrb.submission.reader import ReceivedSubmission
from mrb.submission.validate import read_checked_rankings

Float64 = npt.NDArray[np.float64]

MAX_RUNS = 50
"""Runs of a task in the explorer; each has a file of orders."""
MAX_SCORES_BYTES = 256 * 1024 * 1024
SAME = 1e-9


@dataclass(frozen=True)
class ExploredTask:
    """A task in the explorer: its plan (data, list, queries) and the runs of one table, best first by average.

    `left_out` holds the other runs that cover the task, each with the reason.
    """

    task: Task
    table_id: str
    plan: Plan
    runs: tuple[Run, ...]
    left_out: tuple[tuple[str, str], ...]

    @cached_property
    def first_values(self) -> Float64:
        """The headline measure of the first stage's order, for each query."""
        return compute_first_values(self.plan)


@dataclass(frozen=True)
class RunOrders:
    """One run on one task, per query of the plan.

    `orders` are positions in the query's list, best first, int64[n]; `scores` are in that order, float32[n], NaN for a
    failed pair; `values` is the headline measure, float64[queries].
    """

    orders: tuple[Positions, ...]
    scores: tuple[Float32, ...]
    values: Float64


def explore_tasks(site: Site) -> Iterator[ExploredTask]:
    """Yield the board's tasks that the explorer shows (`is_explored`), by type."""
    for task in filter(partial(is_explored, site), site.tasks):
        runs, left_out, table_id = _choose_runs(site, task)
        yield ExploredTask(task, table_id, _make_plan(runs[0], task), tuple(runs), tuple(left_out))


def is_explored(site: Site, task: Task) -> bool:
    """Return whether the explorer shows the task.

    Its data must ship with MRB (under a licence that allows it), and a run must have scored its frozen list.
    """
    return task.source.kind == "embedded" and bool(_choose_runs(site, task)[0])


def list_explored_runs(site: Site, task: Task) -> frozenset[str]:
    """Return the names of the runs that the explorer shows on the task."""
    return frozenset(run.name for run in _choose_runs(site, task)[0]) if is_explored(site, task) else frozenset()


def _choose_runs(site: Site, task: Task) -> tuple[list[Run], list[tuple[str, str]], str]:
    """Return the runs of the first table that has the task on its frozen list, the reasons for the others, and the
    table's id.
    """
    runs: list[Run] = []
    left_out: list[tuple[str, str]] = []
    chosen = ""
    for table_id, table in site.list_tables(task.id).items():
        for run in (run for run in table.runs if task.id in run.tasks):
            reason = _explain_absence(run, task)
            if reason is None and chosen in ("", table_id):
                reason = f"not among the {MAX_RUNS} best" if len(runs) == MAX_RUNS else None
            elif reason is None:
                reason = "in another table: its numbers do not compare with these"
            if reason is None:
                chosen = table_id
                runs.append(run)
            else:
                left_out.append((run.name, reason))
    return runs, left_out, chosen


def _explain_absence(run: Run, task: Task) -> str | None:
    """Return why the explorer cannot show the run on this task, None if it can."""
    result = run.tasks[task.id].result
    same = task.candidates is not None and result.candidates.sha256 == task.candidates.sha256
    if not same:
        return "scored on another list than the frozen one"
    if (result.task_hash, result.data.revision, result.data.qrels) != (task.hash, task.revision, task.qrels):
        return "made with another definition of the task"
    if run.stored is None and not (run.folder / task.id / SCORES_FILE).is_file():
        return f"has no {SCORES_FILE}"
    return None


def _make_plan(run: Run, task: Task) -> Plan:
    scores = run.tasks[task.id]
    sample = None
    if scores.result.data.selection == "sample" and run.record.suite is not None:
        sample = load_suite(run.record.suite).sample
    plan = load_result_plan(scores.result, sample, None, str(run.folder / task.id), scores.task)
    if hash_query_ids(plan.query_ids) != scores.queries:
        raise ResultError(f"{run.folder}: task {task.id}: its queries are not those of the task")
    return plan


def read_orders(shown: ExploredTask, run: Run, site: Site) -> RunOrders:
    """Return the orders of one of `shown.runs`. ResultError names the file and the query that is wrong."""
    plan, task_id = shown.plan, shown.task.id
    scores = _read_submitted(shown, run, site) if run.stored is not None else _read_scored(plan, run)
    orders, ordered, rankings = [], [], {}
    for entry in plan.entries():
        given = scores.get(entry.query_id, np.empty(0, np.float32))
        order = rank_candidates(task_id, entry.query_id, entry.doc_ids, given, failed=np.isnan(given))
        orders.append(order)
        ordered.append(given[order])
        rankings[entry.query_id] = [entry.doc_ids[position] for position in order[: HEADLINE.cutoff]]
    values = compute_headline_values(plan, rankings)
    found = float(average_queries(values, find_query_parts(shown.task, plan.query_ids)))
    stated = run.tasks[task_id].result.measures[str(HEADLINE)].mean
    if abs(stated - found) > SAME:
        raise ResultError(f"{run.folder}: {HEADLINE} of {task_id} is {stated}, its orders give {found}")
    return RunOrders(tuple(orders), tuple(ordered), values)


def _read_submitted(shown: ExploredTask, run: Run, site: Site) -> Mapping[str, Float32]:
    submission = site.submissions[run.name]
    received = ReceivedSubmission(run.folder, submission, load_suite(submission.suite))
    return restore_scores(
        shown.plan, read_checked_rankings(received, shown.task.id), received.ranking_path(shown.task.id)
    )


def _read_scored(plan: Plan, run: Run) -> Mapping[str, Float32]:
    """Return a run's scores in first-stage order. Its file must hold exactly the plan's pairs, in the plan's order."""
    path = run.folder / plan.data.task.id / SCORES_FILE
    table = read_untrusted(path, SCORES_SCHEMA, ResultError, max_bytes=MAX_SCORES_BYTES)
    query_ids, doc_ids = (table.column(name).to_pylist() for name in ("query_id", "doc_id"))
    # Null marks a failed pair.
    values = table.column("score").to_numpy().astype(np.float32)
    held: dict[str, Float32] = {}
    start = 0
    for entry in plan.entries():
        end = start + len(entry.doc_ids)
        if doc_ids[start:end] != entry.doc_ids or set(query_ids[start:end]) - {entry.query_id}:
            raise ResultError(f"{path}: query {entry.query_id!r}: not the scores of its candidates")
        held[entry.query_id] = values[start:end]
        start = end
    if start != len(table):
        raise ResultError(f"{path}: {len(table)} pairs, the task has {start}")
    return held
