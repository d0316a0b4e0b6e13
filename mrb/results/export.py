"""Export a run for other tools: TREC run files, CSV, a LaTeX table."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from mrb._util.format import escape_latex, format_csv_table, format_latex_table
from mrb._util.parquet import read_untrusted
from mrb.candidates.lists import format_trec_line
from mrb.errors import ResultError, to_one_line
from mrb.metrics.ranking import Float32, rank_candidates
from mrb.results.run import Run
from mrb.results.schema import SCORES_FILE, SCORES_SCHEMA
from mrb.results.table import RunRow, find_averages, list_averages, list_rows

COLUMNS = (
    "run", "reranker", "task", "type", "measure", "mean", "low", "high", "first_stage", "oracle",
    "queries", "depth", "selection", "qrels", "candidates", "tasks", "of",
)  # fmt: skip


def format_trec(run: Run, task_id: str, *, raw: bool = False) -> Iterator[str]:
    """Yield the lines of a TREC run file, `query Q0 document rank score tag`, with candidates in MRB's order.

    trec_eval reads only the score, as a float32, and breaks ties by document id. So the score is the number of
    candidates from this one to the last, which keeps MRB's order even for ties. With `raw` it is the reranker's own
    score, in the shortest text that gives the same float32; other tools may then order ties differently.

    Raises:
        ResultError: The run lacks the task, the file of scores is damaged, or `raw` is set and a pair failed.
        CandidatesError: An id has white space.
    """
    if task_id not in run.tasks:
        raise ResultError(f"{run.folder}: has no result for task {task_id}")
    for query_id, doc_ids, scores in read_lists(run, task_id):
        failed = np.isnan(scores)
        if raw and failed.any():
            raise ResultError(
                f"task {task_id}, query {query_id!r}: a pair failed and has no score; leave out --raw-scores"
            )
        order = rank_candidates(task_id, query_id, doc_ids, scores, failed=failed).tolist()
        for rank, position in enumerate(order, start=1):
            score = str(scores[position]) if raw else str(len(order) - rank + 1)
            yield format_trec_line(query_id, doc_ids[position], rank, score, run.record.reranker.name)


def format_csv(run: Run) -> str:
    """Return the run's results as CSV: a line for each task and measure, then a line for each average and measure.

    Numbers are fractions in full precision. `tasks` and `of` say how many tasks or types an average covers; its cells
    are empty if one is missing. A text cell that a spreadsheet would read as a formula begins with a quote.
    """
    return format_csv_table(
        [COLUMNS, *([_clean_cell(row.get(name)) for name in COLUMNS] for row in _list_csv_rows(run))]
    )


def format_latex(run: Run, measure: str) -> str:
    """Return a LaTeX table (for the package booktabs), in points (fractions times 100).

    It has each task's first stage, reranker with 95 % interval, and oracle, then the averages. ResultError if a result
    lacks the measure.
    """
    raw = ", raw qrels" if any(scores.result.data.qrels == "raw" for scores in run.tasks.values()) else ""
    name, measured = (escape_latex(to_one_line(text)) for text in (run.name, measure))
    title = rf"\multicolumn{{6}}{{l}}{{{name}: {measured} $\times$ 100, 95\,\% intervals{raw}}}"
    head = ("Task", "Type", "First stage", "Reranker", "Interval", "Oracle")
    return format_latex_table(
        "llrrlr", [[[title]], [head], *([_format_latex_cells(row) for row in rows] for rows in list_rows(run, measure))]
    )


def read_lists(run: Run, task_id: str) -> Iterator[tuple[str, list[str], Float32]]:
    """Yield (query id, document ids, scores) from the task's file of scores, in first-stage order.

    A failed pair's score is NaN. Raises ResultError if the file is damaged.
    """
    path = run.folder / task_id / SCORES_FILE
    table = read_untrusted(path, SCORES_SCHEMA, ResultError)
    query_ids, doc_ids = table.column("query_id").to_pylist(), table.column("doc_id").to_pylist()
    scores = table.column("score").to_numpy()
    counts = run.tasks[task_id].result.counts
    failed = int(np.isnan(scores).sum())
    if (len(scores), failed) != (counts.pairs, counts.failed_pairs) or np.isinf(scores).any():
        raise ResultError(
            f"{path}: not the {counts.pairs} scores, {counts.failed_pairs} of them failed, that the result counts; "
            "`mrb recompute` says more"
        )
    starts = [row for row, query_id in enumerate(query_ids) if row == 0 or query_id != query_ids[row - 1]]
    for start, end in pairwise([*starts, len(query_ids)]):
        yield query_ids[start], doc_ids[start:end], scores[start:end]


def list_task_rows(run: Run) -> Iterator[dict[str, object]]:
    """Yield {column: value} for each task and measure; numbers are fractions. The columns are among COLUMNS."""
    for task_id, scores in run.tasks.items():
        result = scores.result
        for measure, own in result.measures.items():
            yield {
                "run": run.name, "reranker": result.reranker.name, "task": task_id, "type": scores.task.type,
                "measure": measure, "mean": own.mean, "low": own.low, "high": own.high,
                "first_stage": result.first_stage[measure].mean, "oracle": result.oracle[measure].mean,
                "queries": result.counts.queries, "depth": result.candidates.depth,
                "selection": result.data.selection, "qrels": result.data.qrels,
                "candidates": result.candidates.sha256,
            }  # fmt: skip


def _list_csv_rows(run: Run) -> Iterator[dict[str, object]]:
    yield from list_task_rows(run)
    measures = next(iter(run.tasks.values())).result.measures if run.tasks else ()
    averages = list_averages(run)  # once: each run of a sub-suite computes its intervals of all measures together
    for measure in measures:
        for label, part, over in averages:
            first, own_average, oracle = find_averages(part, over, measure)
            interval = own_average.interval
            yield {
                "run": run.name, "reranker": run.record.reranker.name, "task": label,
                "measure": measure, "mean": own_average.mean,
                "low": interval and interval.low, "high": interval and interval.high,
                "first_stage": first.mean, "oracle": oracle.mean, "tasks": own_average.done, "of": own_average.of,
            }  # fmt: skip


def _format_latex_cells(row: RunRow) -> tuple[str, ...]:
    label = escape_latex(row.label)
    if row.first_stage is None or row.own is None or row.oracle is None:
        return label, row.type, "", escape_latex(row.state.partition(":")[0]), "", ""
    own = row.own
    interval = f"[{100 * own.low:.2f}, {100 * own.high:.2f}]"
    return label, row.type, f"{100 * row.first_stage:.2f}", f"{100 * own.mean:.2f}", interval, f"{100 * row.oracle:.2f}"


def _clean_cell(value: object) -> object:
    return to_one_line(value) if isinstance(value, str) else value  # a spreadsheet runs a formula even after a line end
