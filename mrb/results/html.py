"""Runs and comparisons as HTML tables for notebooks. All text is escaped; nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from mrb._util.format import format_p_value
from mrb.errors import to_one_line
from mrb.metrics.measures import HEADLINE

if TYPE_CHECKING:
    from mrb.results.compare import Comparison, RunDifference
    from mrb.results.run import Run, TaskScores
    from mrb.results.schema import Interval
    from mrb.results.table import RunRow


def format_run_html(run: Run, measure: str = str(HEADLINE)) -> str:
    """Return the run's table as HTML: points (fractions times 100) of first stage, reranker, oracle and gain."""
    from mrb.results.table import list_rows

    tasks, averages = list_rows(run, measure)
    head = ("task", "type", "first stage", "reranker", "95 % interval", "oracle", "gain")
    partial = {scores.result.data.selection for scores in run.tasks.values()} - {"all"}
    note = f"; not all queries: {', '.join(sorted(partial))}" if partial else ""
    return _format_table(f"{run.name}: {measure} x 100{note}", head, map(_format_row, (*tasks, *averages)))


def format_task_html(scores: TaskScores) -> str:
    """Return a row for each measure of a task as HTML, in points."""
    result = scores.result
    head = ("measure", "first stage", "reranker", "95 % interval", "oracle", "gain")
    rows = [
        _format_numbers(name, result.first_stage[name].mean, own, result.oracle[name].mean)
        for name, own in result.measures.items()
    ]
    return _format_table(f"{result.task} of {result.reranker.name}: x 100", head, rows)


def format_rows_html(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return rows of an id and a text as HTML."""
    return _format_table(title, ("id", "value"), rows)


def format_comparison_html(found: Comparison) -> str:
    """Return the gains over the base as HTML, in points, for each task and then the averages."""
    head = ("task", "type", "base", "run", "mean", "gain", "95 % interval", "raw p", "corrected p")
    rows: list[Sequence[str]] = []
    for task in found.tasks:
        for number, one in enumerate(task.differences, start=1):
            rows.append([task.task, task.type, *_format_gain(task.means[0], task.means[number], one.mean)])
    for over, average in (("tasks", found.over_tasks), ("types", found.over_types)):
        for number, gain in enumerate(average.differences, start=1):
            rows.append([f"average over {over}", "", *_format_gain(average.means[0], average.means[number], gain)])
    return _format_table(f"{found.measure} x 100; gain over {found.runs[0]}", head, rows)


def _format_row(row: RunRow) -> Sequence[str]:
    if row.first_stage is None or row.own is None or row.oracle is None:
        return row.label, row.type, row.state
    label, *numbers = _format_numbers(row.label, row.first_stage, row.own, row.oracle)
    return label, row.type, *numbers


def _format_numbers(label: str, first: float, own: Interval, oracle: float) -> Sequence[str]:
    interval = f"[{_points(own.low)}, {_points(own.high)}]"
    return label, _points(first), _points(own.mean), interval, _points(oracle), f"{100 * (own.mean - first):+.2f}"


def _format_gain(base: float, mean: float, gain: RunDifference) -> Sequence[str]:
    interval = f"[{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]"
    numbers = (
        _points(mean),
        f"{100 * gain.difference:+.2f}",
        interval,
        format_p_value(gain.p),
        format_p_value(gain.p_corrected),
    )
    return _points(base), gain.run, *numbers


def _points(fraction: float) -> str:
    return f"{100 * fraction:.2f}"


def _format_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"<table><caption>{_text(title)}</caption>", _format_cells("th", head, len(head))]
    return "\n".join([*lines, *(_format_cells("td", row, len(head)) for row in rows), "</table>"])


def _format_cells(tag: str, cells: Sequence[str], whole: int) -> str:
    """Return a row; the last cell of a shorter one extends over the columns that it lacks."""
    *most, last = cells
    wide = f' colspan="{whole - len(most)}"' if len(cells) < whole else ""
    return (
        "<tr>" + "".join(f"<{tag}>{_text(cell)}</{tag}>" for cell in most) + f"<{tag}{wide}>{_text(last)}</{tag}></tr>"
    )


def _text(value: str) -> str:
    return escape(to_one_line(value))
