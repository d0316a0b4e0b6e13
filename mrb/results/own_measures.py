"""Add measures of one's own to a run, from its files of scores and the task's judgements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mrb._util.raised import describe
from mrb.data.corpus_subset import NeededDocuments
from mrb.data.load import load_task_data
from mrb.errors import MRBError, ResultError
from mrb.metrics.measures import rank_by_grade
from mrb.metrics.own_measures import MeasureFunction, check_measure_name
from mrb.metrics.ranking import rank_candidates
from mrb.metrics.statistics import compute_intervals, derive_task_seed
from mrb.results.export import read_lists
from mrb.results.run import Float64, Run, TaskScores
from mrb.results.schema import Interval

ROWS = ("measures", "first_stage", "oracle")


def add_measures(run: Run, functions: Mapping[str, MeasureFunction]) -> Run:
    """Return the run with the values of `functions` beside the standard measures; nothing is written.

    Raises:
        MRBError: A name has the wrong form, or a function raises or returns no fraction from 0 to 1.
        ResultError: A file of scores is damaged, or the run is of another definition of a task.
        DataError: The data of a task cannot be loaded.
    """
    for name in functions:
        check_measure_name(name)
    if not functions:
        return run
    return replace(run, tasks={task_id: _add_to_task(run, task_id, functions) for task_id in run.tasks})


def _add_to_task(run: Run, task_id: str, functions: Mapping[str, MeasureFunction]) -> TaskScores:
    scores = run.tasks[task_id]
    values = _measure_task(run, scores, functions)
    columns = np.column_stack([values[row][name] for row in ROWS for name in functions])
    clusters, seed = [str(cluster) for cluster in scores.clusters], derive_task_seed(task_id)
    found = iter(compute_intervals(columns, clusters, scores.parts, seed=seed))
    result = scores.result
    changed = {}
    for row in ROWS:
        intervals = {name: Interval.from_mean(next(found)) for name in functions}
        changed[row] = {**getattr(result, row), **intervals}
    # Not validated again: the schema of files takes the names of standard measures only.
    return replace(scores, result=result.model_copy(update=changed), values={**scores.values, **values["measures"]})


def _measure_task(
    run: Run, scores: TaskScores, functions: Mapping[str, MeasureFunction]
) -> dict[str, dict[str, Float64]]:
    """Return values per query, in the run's order, of the reranker's, the first stage's and the oracle's order."""
    task_id, result = scores.result.task, scores.result
    task = scores.task.with_qrels(result.data.qrels)
    if task.hash != result.task_hash:
        raise ResultError(f"{run.where}: {task_id} was scored with another definition than this version's")
    lists = {query_id: (doc_ids, given) for query_id, doc_ids, given in read_lists(run, task_id)}
    needed = NeededDocuments(
        result.candidates.sha256, frozenset(doc_id for doc_ids, _ in lists.values() for doc_id in doc_ids)
    )
    qrels = load_task_data(task, needed=needed).qrels
    found = {row: {name: np.zeros(len(scores.query_ids)) for name in functions} for row in ROWS}
    for place, query_id in enumerate(scores.query_ids):
        doc_ids, given = lists.get(query_id, ([], np.empty(0, np.float32)))
        grades = qrels[query_id]
        order = rank_candidates(task_id, query_id, doc_ids, given, failed=np.isnan(given)).tolist()
        orders = ([doc_ids[position] for position in order], doc_ids, rank_by_grade(doc_ids, grades))
        ideal = sorted(grades.values(), reverse=True)
        for row, ranking in zip(ROWS, orders, strict=True):
            ranked = [grades.get(doc_id, 0) for doc_id in ranking]
            for name, function in functions.items():
                found[row][name][place] = _call(function, ranked, ideal, f"measure {name}, {task_id}, {query_id!r}")
    return found


def _call(function: MeasureFunction, ranked: Sequence[int], ideal: Sequence[int], where: str) -> float:
    try:
        value = float(function(list(ranked), list(ideal)))
    except Exception as error:
        raise MRBError(f"{where}: {describe(error)}") from error
    if not 0.0 <= value <= 1.0:
        raise MRBError(f"{where}: gives {value}, wanted a fraction from 0 to 1")
    return value
