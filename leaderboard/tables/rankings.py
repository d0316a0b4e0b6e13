"""Rankings for the explorer: each run's order of each query's candidates.

Of a task whose data ships with MRB, all queries are shown with texts and images. Of any other task that has a judgement
pack, the queries that differ most between the runs are shown, by ids and grades alone.

Nothing in a run's files is trusted: scores must be those of the list, orders must be permutations of it, and the
resulting measure must be the one that the run states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mrb._util.parquet import read_untrusted
from mrb.candidates.judgement_packs import find_pack, read_pack
from mrb.candidates.lists import read_parquet
from mrb.data.own_tasks import make_own_suite
from mrb.data.task import Task, load_suite
from mrb.data.task_data import find_query_parts
from mrb.errors import ResultError
from mrb.evaluation.packed_plan import make_packed_plan
from mrb.evaluation.plan import Plan
from mrb.evaluation.recompute import load_result_plan
from mrb.leaderboard.tables.per_query_cache import (
    compute_first_stage_values,
    compute_first_values,
    compute_headline_values,
)
from mrb.leaderboard.tables.rows import Table
from mrb.metrics.aggregation import average_queries
from mrb.metrics.measures import HEADLINE
from mrb.metrics.ranking import Float32, Positions, rank_candidates
from mrb.results.run import Run, hash_query_ids
from mrb.results.schema import SCORES_FILE, SCORES_SCHEMA
from mrb.submission.rankings import restore_scores
from mrb.submission.reader import ReceivedSubmission
from mrb.submission.schema import Submission
from mrb.submission.validate import read_checked_rankings

Float64 = npt.NDArray[np.float64]

MAX_RUNS = 50
"""Runs of a task in the explorer; each has a file of orders."""
MAX_PACKED_QUERIES = 30
"""Queries that are shown of a task that only has a judgement pack."""
MAX_SCORES_BYTES = 256 * 1024 * 1024
SAME = 1e-9
TIED = 10
"""Without scores, an order of at least so many candidates that is the hash order counts as tied: chance is 1 in 10!."""


@dataclass(frozen=True)
class ExploredTask:
    """A task in the explorer: its plan (data, list, queries that are shown) and the runs of one table, best first.

    `left_out` holds the other runs that cover the task, each with the reason. `of` is the number of the result's
    queries. `packed` says that the plan is made from a judgement pack: no texts, and documents are named by their
    positions, whose ids `ids` has by query if the list lies beside the pack.
    """

    task: Task
    table_id: str
    plan: Plan
    runs: tuple[Run, ...]
    left_out: tuple[tuple[str, str], ...]
    of: int
    packed: bool = False
    ids: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @cached_property
    def first_values(self) -> Float64:
        """The headline measure of the first stage's order, for each query of the plan."""
        return compute_first_values(self.plan)

    @cached_property
    def values(self) -> dict[str, Float64]:
        """The headline measure of each query of the plan, by run, of the runs that have it."""
        found = {run.name: _find_values(run, self.task.id) for run in self.runs}
        places = {query_id: place for place, query_id in enumerate(self.runs[0].tasks[self.task.id].query_ids)}
        rows = [places[query_id] for query_id in self.plan.query_ids]
        return {name: values[rows] for name, values in found.items() if values is not None}

    @property
    def selection(self) -> str:
        """Which queries were scored: "all", "sample", "limit"."""
        return self.runs[0].tasks[self.task.id].result.data.selection

    def name_document(self, query_id: str, doc_id: str) -> str:
        """Return the id of a candidate of the plan; empty if only its position in the list is known."""
        if not self.packed:
            return doc_id
        return self.ids[query_id][int(doc_id)] if query_id in self.ids else ""


@dataclass(frozen=True)
class RunOrders:
    """One run on one task, per query of the plan.

    `orders` are positions in the query's list, best first, int64[n]; `scores` are in that order, float32[n], NaN for a
    failed pair, None where a submission publishes none; `tied` says whether all candidates tie; `values` is the
    headline measure, float64[queries].
    """

    orders: tuple[Positions, ...]
    scores: tuple[Float32, ...] | None
    tied: tuple[bool, ...]
    values: Float64


def explore_tasks(tables: Mapping[str, Table], tasks: Sequence[Task]) -> dict[str, ExploredTask]:
    """Return the tasks that the explorer shows, by id, in the order of `tasks`; `tables` are the board's, by id.

    A task's data ships with MRB (under a licence that allows it) and a run has scored its frozen list, or there is a
    judgement pack of a list that a run has scored.
    """
    found = {}
    for task in tasks:
        covering = {name: table for name, table in tables.items() if task.id in table.comparison.reference}
        one = _explore_embedded(covering, task) if task.source.kind == "embedded" else None
        one = one or _explore_packed(covering, task)
        if one is not None:
            found[task.id] = one
    return found


def _explore_embedded(tables: Mapping[str, Table], task: Task) -> ExploredTask | None:
    reasons = {
        run.name: _explain_absence(run, task) for table in tables.values() for run in table.runs if task.id in run.tasks
    }
    table_id, runs, left_out = _choose_runs(tables, task.id, reasons)
    if not runs:
        return None
    plan = _make_plan(runs[0], task)
    return ExploredTask(task, table_id, plan, tuple(runs), tuple(left_out), len(plan.query_ids))


def _explore_packed(tables: Mapping[str, Table], task: Task) -> ExploredTask | None:
    packs = {
        name: find_pack(task.id, table.comparison.packs, table.comparison.identities[task.id].candidates)
        for name, table in tables.items()
    }
    reasons = {
        run.name: "there is no judgement pack of its list" if packs[name] is None else _explain_unread(run, task.id)
        for name, table in tables.items()
        for run in table.runs
        if task.id in run.tasks
    }
    table_id, runs, left_out = _choose_runs(tables, task.id, reasons)
    if not runs:
        return None
    pack, scores = packs[table_id], runs[0].tasks[task.id]
    first = compute_first_stage_values(tables[table_id].comparison, task.id)  # checks the pack
    if pack is None or first is None:
        return None
    chosen = _choose_queries(scores.query_ids, [first, *(run.tasks[task.id].values[str(HEADLINE)] for run in runs)])
    plan = _make_pack_plan(pack, scores.task, scores.result.candidates.depth, chosen)
    ids = _read_ids(pack.with_suffix(".parquet"), plan)
    return ExploredTask(task, table_id, plan, tuple(runs), tuple(left_out), len(scores.query_ids), packed=True, ids=ids)


def _choose_queries(query_ids: Sequence[str], values: Sequence[Float64]) -> list[str]:
    """Return the queries whose values differ most (standard deviation), in the task's order."""
    places = np.argsort(-np.std(values, axis=0), kind="stable")[:MAX_PACKED_QUERIES]
    return [query_ids[place] for place in sorted(places.tolist())]


def _make_pack_plan(pack: Path, task: Task, depth: int, query_ids: Sequence[str]) -> Plan:
    whole, wanted = read_pack(pack), set(query_ids)
    kept = tuple(query for query in whole.queries if query.query_id in wanted)
    return make_packed_plan(replace(whole, queries=kept), task, depth)


def _read_ids(path: Path, plan: Plan) -> dict[str, list[str]]:
    """Return the ids of the plan's candidates by query, if the list itself lies beside its pack."""
    if not path.is_file():
        return {}
    listed = read_parquet(path)
    same = listed.sha256 == plan.candidates.sha256
    return {query_id: listed.get(query_id)[0] for query_id in plan.query_ids} if same else {}


def _choose_runs(
    tables: Mapping[str, Table], task_id: str, reasons: Mapping[str, str | None]
) -> tuple[str, list[Run], list[tuple[str, str]]]:
    """Return the first table with runs that can be shown (those without a reason), these, and reasons of the others.

    All tables have the task.
    """
    runs: list[Run] = []
    left_out: list[tuple[str, str]] = []
    chosen = ""
    for table_id, table in tables.items():
        for run in (run for run in table.runs if task_id in run.tasks):
            reason = reasons[run.name]
            if reason is None and chosen in ("", table_id):
                reason = f"not among the {MAX_RUNS} best" if len(runs) == MAX_RUNS else None
            elif reason is None:
                reason = "in another table: its numbers cannot be compared with these"
            if reason is None:
                chosen = table_id
                runs.append(run)
            else:
                left_out.append((run.name, reason))
    return chosen, runs, left_out


def _find_values(run: Run, task_id: str) -> Float64 | None:
    return run.tasks[task_id].values.get(str(HEADLINE))


def _explain_absence(run: Run, task: Task) -> str | None:
    """Return why the explorer cannot show the run on this task, None if it can."""
    result = run.tasks[task.id].result
    same = task.candidates is not None and result.candidates.sha256 == task.candidates.sha256
    if not same:
        return "scored on another list than the frozen one"
    if (result.task_hash, result.data.revision, result.data.qrels) != (task.hash, task.revision, task.qrels):
        return "made with another definition of the task"
    return None if run.stored is not None else _explain_unscored(run, task.id)


def _explain_unscored(run: Run, task_id: str) -> str | None:
    return None if (run.folder / task_id / SCORES_FILE).is_file() else f"has no {SCORES_FILE}"


def _explain_unread(run: Run, task_id: str) -> str | None:
    """Return why the explorer cannot show the run on a task with a judgement pack, None if it can."""
    if _find_values(run, task_id) is None:
        return "has no values per query"
    return None if run.stored is not None else _explain_unscored(run, task_id)


def _make_plan(run: Run, task: Task) -> Plan:
    scores = run.tasks[task.id]
    sample = None
    if scores.result.data.selection == "sample" and run.record.suite is not None:
        sample = load_suite(run.record.suite).sample
    plan = load_result_plan(scores.result, sample, None, str(run.folder / task.id), scores.task)
    if hash_query_ids(plan.query_ids) != scores.queries:
        raise ResultError(f"{run.folder}: task {task.id}: its queries are not those of the task")
    return plan


def read_orders(shown: ExploredTask, run: Run, submission: Submission | None = None) -> RunOrders:
    """Return the orders of one of `shown.runs`; `submission` is what it was read from, if it is none of `mrb run`.

    ResultError names the file and the query that is wrong.
    """
    plan, task_id = shown.plan, shown.task.id
    scores = _read_scored(shown, run) if submission is None else _read_submitted(shown, run, submission)
    published = submission is None or submission.rankings[task_id].scores
    orders, ordered, tied, rankings = [], [], [], {}
    for entry in plan.entries():
        given = scores.get(entry.query_id, np.empty(0, np.float32))
        order = rank_candidates(task_id, entry.query_id, entry.doc_ids, given, failed=np.isnan(given), ties=entry.ties)
        orders.append(order)
        ordered.append(given[order])
        tied.append(_ties_all(given) if published else _is_hash_order(order, entry.ties))
        rankings[entry.query_id] = [entry.doc_ids[position] for position in order[: HEADLINE.cutoff]]
    values = compute_headline_values(plan, rankings)
    _check_values(shown, run, values)
    return RunOrders(tuple(orders), tuple(ordered) if published else None, tuple(tied), values)


def _ties_all(scores: Float32) -> bool:
    """Return whether all of several candidates have the same score: the ranking rule's hash then decides the order."""
    return len(scores) > 1 and bool((scores == scores[0]).all())


def _is_hash_order(order: Positions, ties: Positions | None) -> bool:
    return ties is not None and len(order) >= TIED and np.array_equal(order, ties)


def _check_values(shown: ExploredTask, run: Run, values: Float64) -> None:
    """Refuse orders that do not give what the run states: the mean, or each value where not all queries are shown."""
    task_id = shown.task.id
    if shown.packed:
        wrong = np.abs(values - shown.values[run.name]) > SAME
        if wrong.any():
            query_id = shown.plan.query_ids[int(np.argmax(wrong))]
            raise ResultError(f"{run.folder}: {HEADLINE} of {task_id}, query {query_id!r}: not what its order gives")
        return
    found = float(average_queries(values, find_query_parts(shown.task, shown.plan.query_ids)))
    stated = run.tasks[task_id].result.measures[str(HEADLINE)].mean
    if abs(stated - found) > SAME:
        raise ResultError(f"{run.folder}: {HEADLINE} of {task_id} is {stated}, its orders give {found}")


def _read_submitted(shown: ExploredTask, run: Run, submission: Submission) -> Mapping[str, Float32]:
    suite = make_own_suite(submission.definitions) if submission.definitions else load_suite(submission.suite)
    received = ReceivedSubmission(run.folder, submission, suite)
    wanted = set(shown.plan.query_ids)
    rows = read_checked_rankings(received, shown.task.id)
    kept = [row for row in rows if row.query_id in wanted] if shown.packed else rows
    return restore_scores(shown.plan, kept, received.ranking_path(shown.task.id))


def _read_scored(shown: ExploredTask, run: Run) -> Mapping[str, Float32]:
    """Return a run's scores in first-stage order. Its file must hold the pairs of the plan, in the plan's order, and no
    others unless the plan has a part of the queries. A pack has no ids: there the number of pairs must be the same.
    """
    plan = shown.plan
    path = run.folder / shown.task.id / SCORES_FILE
    table = read_untrusted(path, SCORES_SCHEMA, ResultError, max_bytes=MAX_SCORES_BYTES)
    if shown.packed:
        table = table.filter(pc.is_in(table.column("query_id"), pa.array(plan.query_ids, pa.string())))
    query_ids, doc_ids = (table.column(name).to_pylist() for name in ("query_id", "doc_id"))
    # Null marks a failed pair.
    values = table.column("score").to_numpy().astype(np.float32)
    held: dict[str, Float32] = {}
    start = 0
    for entry in plan.entries():
        end = start + len(entry.doc_ids)
        same = shown.packed or doc_ids[start:end] == entry.doc_ids
        if not same or query_ids[start:end] != [entry.query_id] * len(entry.doc_ids):
            raise ResultError(f"{path}: query {entry.query_id!r}: not the scores of its candidates")
        held[entry.query_id] = values[start:end]
        start = end
    if start != len(table):
        raise ResultError(f"{path}: {len(table)} pairs, the task has {start}")
    return held
