"""Gains over first stages as text tables, CSV, LaTeX and Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mrb._util.format import (
    PLAIN,
    Screen,
    escape_latex,
    escape_markdown,
    fold_text,
    format_csv_table,
    format_latex_table,
    format_markdown_table,
    format_table,
)
from mrb.errors import to_one_line
from mrb.results.first_stages import GAIN_COLUMNS, FirstStageGains, GainRow, SetGain, Spread, list_gain_rows
from mrb.results.table import style_gain

_HEAD = ("task", "candidate set", "first stage", "reranker", "gain", "spread over sets")
_NARROW_HEAD = ("task and candidate sets", "first stage", "reranker", "gain")


def format_gains(gains: FirstStageGains, screen: Screen = PLAIN) -> Iterator[str]:
    """Yield the lines of a table for each reranker, and notes.

    Args:
        gains: The gains.
        screen: The width to fit and whether gains have colour.
    """
    yield from fold_text(_describe(gains), screen)
    for reranker in gains.rerankers:
        yield ""
        yield screen.paint(to_one_line(reranker.name), bold=True)
        rows = [_NARROW_HEAD, *(cells for row in reranker.rows for cells in _list_narrow_cells(row))]
        yield from format_table(rows, left={0, 2}, screen=screen)
        for note in _list_notes(gains, reranker.rows):
            yield from fold_text(note, screen)


def format_gains_csv(gains: FirstStageGains) -> str:
    """Return the rows of `FirstStageGains.to_frame` as CSV."""
    rows = [[_clean(row.get(name)) for name in GAIN_COLUMNS] for row in list_gain_rows(gains)]
    return format_csv_table([list(GAIN_COLUMNS), *rows])


def format_gains_latex(gains: FirstStageGains) -> str:
    """Return a LaTeX table (for the package booktabs) in points: a group of rows for each reranker."""
    head = ["Reranker", "Task", "Candidate set", "First stage", "Reranker", "Gain", "Spread"]
    title = rf"\multicolumn{{{len(head)}}}{{l}}{{{escape_latex(_title(gains))}}}"
    groups = [
        [
            [escape_latex(to_one_line(reranker.name)), *(escape_latex(cell) for cell in cells)]
            for row in reranker.rows
            for cells in _list_cells(row)
        ]
        for reranker in gains.rerankers
    ]
    return format_latex_table("lllrlrl", [[[title]], [head], *groups])


def format_gains_markdown(gains: FirstStageGains) -> str:
    """Return a Markdown table in points."""
    rows = [
        [escape_markdown(to_one_line(reranker.name)), *(escape_markdown(cell) for cell in cells)]
        for reranker in gains.rerankers
        for row in reranker.rows
        for cells in _list_cells(row)
    ]
    return "\n".join([_title(gains), "", *format_markdown_table(["reranker", *_HEAD], rows)])


def format_spread(spread: Spread) -> str:
    """Return the spread of a gain in points: standard deviation, least and greatest."""
    return f"sd {100 * spread.sd:.2f}, {100 * spread.low:+.2f} to {100 * spread.high:+.2f}"


def _list_cells(row: GainRow) -> Iterator[Sequence[str]]:
    """Yield the cells of each set of a row, then those of all sets, without the reranker."""
    for one in row.gains:
        yield row.label, one.candidate_set, _points(one.first_stage), _format_own(one), f"{100 * one.gain:+.2f}", ""
    if (spread := row.spread) is not None:
        gain = f"{100 * spread.mean:+.2f}"
        yield row.label, f"mean of {spread.sets} sets", "", "", gain, format_spread(spread)


def _list_narrow_cells(row: GainRow) -> Iterator[Sequence[str]]:
    """Yield the label, then the cells of each set under it, then those of all sets; names of sets are long."""
    yield (row.label,)
    for one in row.gains:
        yield f"  {one.candidate_set}", _points(one.first_stage), _format_own(one), style_gain(one.gain)
    if (spread := row.spread) is not None:
        yield f"  mean of {spread.sets} sets", "", format_spread(spread), style_gain(spread.mean)


def _format_own(one: SetGain) -> str:
    return f"{100 * one.own.mean:6.2f} [{_points(one.own.low)}, {_points(one.own.high)}]"


def _points(fraction: float) -> str:
    return f"{100 * fraction:.2f}"


def _title(gains: FirstStageGains) -> str:
    partial = sorted(set(gains.selections) - {"all"})
    notes = [f"not all queries: {', '.join(partial)}"] if partial else []
    return ", ".join([f"{gains.measure} x 100", f"depth {', '.join(map(str, gains.depths))}", *notes])


def _describe(gains: FirstStageGains) -> str:
    return (
        f"{_title(gains)}. Gain over the order of each candidate set's lists. The row of all sets shows the "
        "mean, standard deviation, least and greatest gain. It is empty if a set is missing."
    )


def _list_notes(gains: FirstStageGains, rows: Sequence[GainRow]) -> Iterator[str]:
    """Yield which sets and tasks the reranker lacks, so that a mean over the sets is missing."""
    if len(gains.sets) == 1:
        yield f"one candidate set, {gains.sets[0]}: no spread"
    lacking = {
        name: [row.label for row in rows if name not in {one.candidate_set for one in row.gains}] for name in gains.sets
    }
    if absent := [name for name, labels in lacking.items() if len(labels) == len(rows)]:
        yield f"no mean over the {len(gains.sets)} sets: no results on {', '.join(absent)}"
    for name, labels in lacking.items():
        if name not in absent and labels:
            shown = ", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")
            yield f"on {name} without a value: {shown}; no mean over the sets there"


def _clean(value: object) -> object:
    return to_one_line(value) if isinstance(value, str) else value
