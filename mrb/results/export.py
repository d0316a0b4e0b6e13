"""Export a run for other tools: TREC run files, CSV, a LaTeX table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from mrb._util.parquet import read_untrusted
from mrb.errors import ResultError, one_line
from mrb.evaluation.outputs import SCORES_SCHEMA
from mrb.metrics.ranking import Float32, rank_candidates
from mrb.results.run import Average, Row, Run, average_over_tasks, average_over_types
from mrb.results.schema import SCORES_FILE

COLUMNS = (
    "run", "reranker", "task", "type", "measure", "mean", "low", "high", "first_stage", "oracle",
    "queries", "depth", "selection", "qrels", "candidates", "tasks", "of",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@")
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def format_trec(run: Run, task_id: str, *, raw: bool = False) -> Iterator[str]:
    """Yield the lines of a TREC run file, `query Q0 document rank score tag`, with candidates in MRB's order.

    trec_eval reads only the score, as a float32, and breaks ties by document id. So the score is the number of
    candidates from this one to the last, which keeps MRB's order even for ties. With `raw` it is the reranker's own
    score, in the shortest text that gives the same float32; other tools may then order ties differently.

    Raises:
        ResultError: The run lacks the task, the file of scores is damaged, an id has white space, or `raw` is set and
            a pair failed.
    """
    if task_id not in run.tasks:
        raise ResultError(f"{run.folder}: has no result for task {task_id}")
    for query_id, doc_ids, scores in _lists(run, task_id):
        failed = np.isnan(scores)
        if raw and failed.any():
            raise ResultError(
                f"task {task_id}, query {query_id!r}: a pair failed and has no score; leave out --raw-scores"
            )
        order = rank_candidates(task_id, query_id, doc_ids, scores, failed=failed).tolist()
        for rank, position in enumerate(order, start=1):
            score = str(scores[position]) if raw else str(len(order) - rank + 1)
            _refuse_spaces(query_id, doc_ids[position])
            yield f"{query_id} Q0 {doc_ids[position]} {rank} {score} {run.record.reranker.name}"


def format_csv(run: Run) -> str:
    """Return the run's results as CSV: a line for each task and measure, then a line for each average and measure.

    Numbers are fractions in full precision. `tasks` and `of` say how many tasks or types an average covers; its cells
    are empty if one is missing. A text cell that a spreadsheet would read as a formula begins with a quote.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in _rows(run):
        writer.writerow([_guarded(row.get(name, "")) for name in COLUMNS])
    return out.getvalue()


def format_latex(run: Run, measure: str) -> str:
    """Return a LaTeX table (for the package booktabs), in points (fractions times 100).

    It has each task's first stage, reranker with 95 % interval, and oracle, then the averages. ResultError if a result
    lacks the measure.
    """
    raw = ", raw qrels" if any(scores.result.data.qrels == "raw" for scores in run.tasks.values()) else ""
    lines = [
        r"\begin{tabular}{llrrlr}",
        r"\toprule",
        rf"\multicolumn{{6}}{{l}}{{{_escaped(run.name)}: {_escaped(measure)} $\times$ 100, 95\,\% intervals{raw}}} \\",
        r"\midrule",
        r"Task & Type & First stage & Reranker & Interval & Oracle \\",
        r"\midrule",
    ]
    reasons = {item.task for item in run.record.not_covered}
    for task_id in run.record.tasks:
        scores = run.tasks.get(task_id)
        if scores is None:
            words = "not covered" if task_id in reasons else "not scored"
            lines.append(rf"{_escaped(task_id)} & & & {words} & & \\")
            continue
        if measure not in scores.result.measures:
            raise ResultError(f"{run.folder}: {task_id} has no {measure}; it has {', '.join(scores.result.measures)}")
        own, result = scores.result.measures[measure], scores.result
        cells = _points(result.first_stage[measure].mean, own.mean, own.low, own.high, result.oracle[measure].mean)
        lines.append(rf"{_escaped(task_id)} & {scores.task.type} & {cells} \\")
    lines.append(r"\midrule")
    lines += [rf"{label} & & {cells} \\" for label, cells in _latex_averages(run, measure)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _lists(run: Run, task_id: str) -> Iterator[tuple[str, list[str], Float32]]:
    """Yield (query id, document ids, scores) from the task's file of scores, in first-stage order."""
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


def _rows(run: Run) -> Iterator[dict[str, object]]:
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
    measures = next(iter(run.tasks.values())).result.measures if run.tasks else ()
    for measure in measures:
        for noun in ("tasks", "types"):
            first, own_average, oracle = _averages(run, noun, measure)
            interval = own_average.interval
            yield {
                "run": run.name, "reranker": run.record.reranker.name, "task": f"average over {noun}",
                "measure": measure, "mean": own_average.mean,
                "low": interval and interval.low, "high": interval and interval.high,
                "first_stage": first.mean, "oracle": oracle.mean, "tasks": own_average.done, "of": own_average.of,
            }  # fmt: skip


def _averages(run: Run, noun: str, measure: str) -> tuple[Average, Average, Average]:
    """Return the averages of first stage, reranker and oracle."""
    average = average_over_tasks if noun == "tasks" else average_over_types
    rows: tuple[Row, Row, Row] = ("first_stage", "measures", "oracle")
    first, own, oracle = (average(run, run.record.tasks, measure, row) for row in rows)
    return first, own, oracle


def _latex_averages(run: Run, measure: str) -> Iterator[tuple[str, str]]:
    for noun in ("tasks", "types"):
        first, own, oracle = _averages(run, noun, measure)
        label = f"Average over {noun} ({own.done} of {own.of})"
        if first.mean is None or own.interval is None or oracle.mean is None:
            yield label, "& no average & &"
        else:
            yield label, _points(first.mean, own.interval.mean, own.interval.low, own.interval.high, oracle.mean)


def _points(first: float, mean: float, low: float, high: float, oracle: float) -> str:
    return f"{100 * first:.2f} & {100 * mean:.2f} & [{100 * low:.2f}, {100 * high:.2f}] & {100 * oracle:.2f}"


def _guarded(value: object) -> object:
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    plain = one_line(value)  # a spreadsheet runs a formula even after a tab or line end
    return "'" + plain if plain.startswith(_FORMULA) else plain


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in one_line(text))


def _refuse_spaces(*ids: str) -> None:
    for name in ids:
        if not name or any(character.isspace() for character in name):
            raise ResultError(f"the id {name!r} has white space, which a TREC run file cannot hold")
