"""Several runs in one table, as LaTeX, CSV or Markdown: tasks are rows, runs are columns.

In LaTeX and Markdown the best value of each row is bold: that of a run, or of the first stage where no run beats it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mrb._util.format import (
    escape_latex,
    escape_markdown,
    format_csv_table,
    format_latex_table,
    format_markdown_table,
)
from mrb.errors import to_one_line
from mrb.results.compare import check_comparable, name_runs
from mrb.results.run import Run, average_over_tasks, average_over_types
from mrb.results.schema import Interval

_FIRST_STAGE = "first stage"


@dataclass(frozen=True)
class TableRow:
    """A task, or an average (then `type` is empty), with the value of each run by its name (None: it has none)."""

    label: str
    type: str
    first_stage: float | None
    oracle: float | None
    runs: Mapping[str, Interval | None]

    @property
    def means(self) -> dict[str, float | None]:
        """The means of the first stage and of each run."""
        return {
            _FIRST_STAGE: self.first_stage,
            **{name: None if own is None else own.mean for name, own in self.runs.items()},
        }

    @property
    def best(self) -> frozenset[str]:
        """The columns with the highest mean; the first stage's if no run beats it."""
        means = {name: mean for name, mean in self.means.items() if mean is not None}
        return frozenset(name for name, mean in means.items() if mean == max(means.values()))


def make_table(runs: Sequence[Run], measure: str) -> tuple[list[TableRow], list[TableRow]]:
    """Return the rows of all tasks that any of the runs has, and those of the averages over these tasks.

    An average of a run is None unless it has all of the tasks.

    Raises:
        ResultError: A run is given twice, results of a task are not comparable, or one lacks the measure.
    """
    names = name_runs(runs)
    task_ids = list(dict.fromkeys(task_id for run in runs for task_id in run.record.tasks if task_id in run.tasks))
    rows = []
    for task_id in task_ids:
        having = {name: run.tasks[task_id] for name, run in zip(names, runs, strict=True) if task_id in run.tasks}
        check_comparable(list(having), list(having.values()), measure)
        result = next(iter(having.values())).result
        own = {name: having[name].result.measures[measure] if name in having else None for name in names}
        kind = next(iter(having.values())).task.type
        rows.append(TableRow(task_id, kind, result.first_stage[measure].mean, result.oracle[measure].mean, own))
    return rows, [_make_average_row(dict(zip(names, runs, strict=True)), task_ids, over, measure) for over in _OVER]


def format_latex_runs(runs: Sequence[Run], measure: str, intervals: bool = False) -> str:
    """Return a LaTeX table (for the package booktabs) in points, the best value of each row in bold."""
    tasks, averages = make_table(runs, measure)
    names = name_runs(runs)
    title = rf"\multicolumn{{{len(names) + 4}}}{{l}}{{{escape_latex(_title(runs, measure, intervals))}}}"
    head = ["Task", "Type", "First stage", *(escape_latex(to_one_line(name)) for name in names), "Oracle"]

    def cells(row: TableRow) -> list[str]:
        bold = {name: rf"\textbf{{{text}}}" if name in row.best else text for name, text in _values(row).items()}
        texts = [f"{bold[name]}{_interval(row.runs[name], intervals)}" for name in names]
        return [escape_latex(row.label), row.type, bold[_FIRST_STAGE], *texts, _points(row.oracle)]

    return format_latex_table(
        f"llr{'r' * len(names)}r", [[[title]], [head], [cells(row) for row in tasks], [cells(row) for row in averages]]
    )


def format_markdown_runs(runs: Sequence[Run], measure: str, intervals: bool = False) -> str:
    """Return a Markdown table in points, the best value of each row in bold."""
    tasks, averages = make_table(runs, measure)
    names = name_runs(runs)
    head = ["task", "type", "first stage", *(escape_markdown(to_one_line(name)) for name in names), "oracle"]

    def cells(row: TableRow) -> list[str]:
        bold = {name: f"**{text}**" if name in row.best else text for name, text in _values(row).items()}
        texts = [f"{bold[name]}{_interval(row.runs[name], intervals)}" for name in names]
        return [row.label, row.type, bold[_FIRST_STAGE], *texts, _points(row.oracle)]

    table = format_markdown_table(head, [cells(row) for row in (*tasks, *averages)])
    return "\n".join([_title(runs, measure, intervals), "", *table])


def format_csv_runs(runs: Sequence[Run], measure: str, intervals: bool = False) -> str:
    """Return CSV with fractions in full precision: a column for each run, with `intervals` three."""
    tasks, averages = make_table(runs, measure)
    names = name_runs(runs)
    columns = [to_one_line(name) for name in names]
    heads = [[name, f"{name} low", f"{name} high"] if intervals else [name] for name in columns]
    head = ["task", "type", "measure", "first_stage", *(text for group in heads for text in group), "oracle"]
    rows: list[Sequence[object]] = [head]
    for row in (*tasks, *averages):
        cells: list[object] = []
        for name in names:
            own = row.runs[name]
            values = (None, None, None) if own is None else (own.mean, own.low, own.high)
            cells += values if intervals else values[:1]
        rows.append([row.label, row.type, measure, row.first_stage, *cells, row.oracle])
    return format_csv_table(rows)


_OVER = ("tasks", "types")


def _make_average_row(runs: Mapping[str, Run], task_ids: Sequence[str], over: str, measure: str) -> TableRow:
    average = average_over_tasks if over == "tasks" else average_over_types
    # A run without a task may not know its definition either.
    whole = {name: run for name, run in runs.items() if run.tasks.keys() >= set(task_ids)}
    own = {name: average(run, task_ids, measure) for name, run in whole.items()}
    first, oracle = None, None
    for run in list(whole.values())[:1]:
        first = average(run, task_ids, measure, "first_stage").mean
        oracle = average(run, task_ids, measure, "oracle").mean
    types = {run.tasks[task_id].task.type for task_id in task_ids for run in runs.values() if task_id in run.tasks}
    of = len(task_ids) if over == "tasks" else len(types)
    label = f"average over {of} {over if of != 1 else over[:-1]}"
    return TableRow(label, "", first, oracle, {name: own[name].interval if name in own else None for name in runs})


def _title(runs: Sequence[Run], measure: str, intervals: bool) -> str:
    data = [scores.result.data for run in runs for scores in run.tasks.values()]
    notes = ["95 % intervals"] * intervals
    if partial := sorted({one.selection for one in data} - {"all"}):
        notes.append(f"not all queries: {', '.join(partial)}")
    if any(one.qrels == "raw" for one in data):
        notes.append("raw qrels")
    return ", ".join([f"{to_one_line(measure)} x 100", *notes])


def _values(row: TableRow) -> dict[str, str]:
    return {name: _points(mean) for name, mean in row.means.items()}


def _interval(own: Interval | None, shown: bool) -> str:
    return f" [{100 * own.low:.2f}, {100 * own.high:.2f}]" if shown and own is not None else ""


def _points(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.2f}"
