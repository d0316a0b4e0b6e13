"""The table of a run: a row for each task and average, as data and as text."""

from __future__ import annotations

from dataclasses import dataclass

from mrb._util.format import PLAIN, Screen, Styled, fold_text, format_count, format_reasons, format_table
from mrb.candidates.candidate_sets import STANDARD_SET
from mrb.errors import ResultError
from mrb.metrics import statistics as stats
from mrb.metrics.measures import HEADLINE
from mrb.results.noise import NOISE_FILE, describe_other_reranker, read_noise
from mrb.results.run import (
    DIFFERENT,
    RAW,
    Average,
    Row,
    Run,
    average_over_tasks,
    average_over_types,
    list_averaged_tasks,
)
from mrb.results.schema import Interval
from mrb.results.sub_suites import list_sub_runs, name_sub_run

NOT_SCORED = "not scored yet"
_OVER: tuple[stats.Average, ...] = ("tasks", "types")


@dataclass(frozen=True)
class RunRow:
    """A row of a run's table: a task, or an average (then `type` is empty).

    `first_stage` and `oracle` are means, `own` is the reranker's interval; all are None if `state` says why there are
    no numbers.
    """

    label: str
    type: str
    first_stage: float | None = None
    own: Interval | None = None
    oracle: float | None = None
    state: str = ""


def list_rows(run: Run, measure: str) -> tuple[list[RunRow], list[RunRow]]:
    """Return the rows of the tasks and those of the averages. ResultError if a result lacks the measure."""
    reasons = {item.task: item.reason for item in run.record.not_covered}
    tasks = []
    for task_id in run.record.tasks:
        kind, scores = run.get_task(task_id).type, run.tasks.get(task_id)
        if scores is None:
            state = f"not covered: {reasons[task_id]}" if task_id in reasons else NOT_SCORED
            tasks.append(RunRow(task_id, kind, state=state))
            continue
        result = scores.result
        if measure not in result.measures:
            raise ResultError(f"{run.where}: {task_id} has no {measure}; it has {', '.join(result.measures)}")
        first, oracle = result.first_stage[measure].mean, result.oracle[measure].mean
        tasks.append(RunRow(task_id, kind, first, result.measures[measure], oracle))
    averages = [_make_average_row(run, over, measure) for over in _OVER]
    parts = [
        _make_average_row(part, over, measure, f"{name_sub_run(part, run)}:")
        for part in list_sub_runs(run)
        for over in _OVER
    ]
    # A submission from before the sub-suite was declared has no interval of it.
    return tasks, [*averages, *(row for row in parts if row.own is not None)]


def list_averages(run: Run) -> list[tuple[str, Run, stats.Average]]:
    """Return (label, run, over tasks or types) for each average of the run's suite, then of its complete sub-suites.

    `find_averages` takes the run and over what.
    """
    own = [(f"average over {over}", run, over) for over in _OVER]
    return own + [
        (f"average over {over} of {part.record.suite}", part, over) for part in list_sub_runs(run) for over in _OVER
    ]


def find_averages(run: Run, over: stats.Average, measure: str) -> tuple[Average, Average, Average]:
    """Return the averages of the first stage, the reranker and the oracle over the tasks of the run's suite, or without
    a suite over the run's tasks."""
    average = average_over_tasks if over == "tasks" else average_over_types
    rows: tuple[Row, Row, Row] = ("first_stage", "measures", "oracle")
    first, own, oracle = (average(run, list_averaged_tasks(run), measure, row) for row in rows)
    return first, own, oracle


def format_run(run: Run, measure: str = str(HEADLINE), screen: Screen = PLAIN) -> str:
    """Return the run as text: for each task first stage, reranker with interval, oracle and gain; then both averages.

    Tasks without a result are named below the table, once for each reason. The candidate set is named unless it is that
    of the frozen lists.

    Args:
        run: The run.
        measure: By which measure, such as `MRR@10`.
        screen: The width to fit and whether gains have colour.

    Raises:
        ResultError: A result lacks the measure, or the stored noise record is damaged.
    """
    results = [scores.result for scores in run.tasks.values()]
    depths = sorted({result.candidates.depth for result in results})
    sets = sorted({result.candidates.track for result in results})
    named = f", candidate set {', '.join(sets)}" if sets not in ([], [STANDARD_SET]) else ""
    tasks, averages = list_rows(run, measure)
    shown = [row for row in tasks if not row.state]
    rows = [("task", "type", "first stage", "reranker", "oracle", "gain"), *map(_format_cells, (*shown, *averages))]
    title = f"{run.name}: {measure} x 100, 95 % intervals, depth {', '.join(map(str, depths)) or '-'}{named}"
    notes = list(format_reasons({row.label: row.state for row in tasks if row.state}))
    for result in results:
        if result.counts.failed_pairs:
            failed = format_count(result.counts.failed_pairs, "pair")
            notes.append(f"{result.task}: {failed} failed, ranked last")
    notes += format_noise(run)
    parts = sorted({result.data.selection for result in results} - {"all"})
    if parts:
        notes.append(f"Not all queries: {', '.join(parts)}. Do not compare these numbers with those of whole tasks.")
    if any(result.data.qrels == "raw" for result in results):
        notes.append(RAW)
    table = format_table(rows, left={0, 1, 3}, drop=("type", "oracle"), screen=screen)
    return "\n".join([*fold_text(title, screen), *table, *(line for note in notes for line in fold_text(note, screen))])


def format_noise(run: Run) -> list[str]:
    """Return one line with the noise floor that `mrb check --noise` stored in the run's folder, or no line.

    If it was measured on another reranker, the line says so and the noise is not shown. ResultError if the file is
    damaged.
    """
    noise = None if run.path is None else read_noise(run.path)
    if noise is None:
        return []
    if other := describe_other_reranker(noise, run.record.reranker):
        return [f"{NOISE_FILE} is not used: {other}; `mrb check --noise` measures it again"]
    moves = f"{HEADLINE} moves by {100 * noise.floor:.3f} a query on average between two batch plans"
    return [f"noise floor: {moves} ({noise.extent})"]


def _make_average_row(run: Run, over: stats.Average, measure: str, words: str = "average over") -> RunRow:
    first, own, oracle = find_averages(run, over, measure)
    label = f"{words} {own.of} {over if own.of != 1 else over[:-1]}"
    if own.interval is None or first.mean is None or oracle.mean is None:
        missing = f"{own.of - own.done} of {own.of} {over} missing"
        why = missing if own.done < own.of else DIFFERENT
        of = "" if run.record.suite is None else f" of suite {run.record.suite}"
        return RunRow(label, "", state=f"no average{of}: {why}")
    return RunRow(label, "", first.mean, own.interval, oracle.mean)


def _format_cells(row: RunRow) -> tuple[str, ...]:
    if row.first_stage is None or row.own is None or row.oracle is None:
        return row.label, row.type, row.state
    own = f"{100 * row.own.mean:6.2f} [{100 * row.own.low:.2f}, {100 * row.own.high:.2f}]"
    gain = row.own.mean - row.first_stage
    return row.label, row.type, f"{100 * row.first_stage:.2f}", own, f"{100 * row.oracle:.2f}", style_gain(gain)


def style_gain(gain: float, certain: bool = True) -> str:
    """Return a gain (a fraction) in points with its sign: green if it is one, red if it is a loss, plain if it is not
    `certain`."""
    text = f"{100 * gain:+.2f}"
    return Styled(text, fg="green" if gain > 0 else "red") if certain and gain else text
