"""A comparison of runs as text tables."""

from __future__ import annotations

from collections.abc import Iterator

from mrb._util.format import PLAIN, Screen, Styled, fold_text, format_p_value, format_table
from mrb.errors import to_one_line
from mrb.results.compare import Comparison, RunDifference
from mrb.results.run import RAW
from mrb.results.table import style_gain


def format_comparison(found: Comparison, screen: Screen = PLAIN) -> Iterator[str]:
    """Yield the lines of a comparison: a table for each run after the base, notes, and rank bounds.

    Args:
        found: The comparison.
        screen: The width to fit and whether gains have colour.
    """
    base = found.runs[0]
    about = (
        f"{found.measure} x 100; gain over {base} with its 95 % interval. The interval excludes 0 if the raw p is "
        "below 0.05. Corrected p: for the tasks of the two runs; in averages for all pairs of runs."
    )
    yield from fold_text(about, screen)
    for number, run in enumerate(found.runs[1:]):
        yield ""
        yield screen.paint(to_one_line(f"{run} over {base}"), bold=True)
        rows = [_HEADER, *_make_task_rows(found, number), *_make_average_rows(found, number)]
        yield from format_table(
            rows, left={0, 1, 6}, drop=("type", "queries", "tied", "base", "lost", "won"), screen=screen
        )
    yield ""
    for note in _make_notes(found):
        yield from fold_text(note, screen)
    for name, average in (("tasks", found.over_tasks), ("types", found.over_types)):
        ranks = sorted(zip(average.ranks, average.means, found.runs, strict=True), key=lambda one: (-one[1], one[2]))
        listed = "; ".join(f"{bounds} {run}" for bounds, _, run in ranks)
        yield from fold_text(
            f"ranks by the average over {name}, from best to worst at a corrected p of 0.05: {listed}", screen
        )


_HEADER = (
    "task", "type", "queries", "base", "mean", "gain", "interval", "raw p", "corr. p", "won", "lost", "tied",
)  # fmt: skip


def _make_task_rows(found: Comparison, number: int) -> Iterator[list[str]]:
    for task in found.tasks:
        one = task.differences[number]
        means = (task.means[0], task.means[number + 1])
        counts = [str(one.won), str(one.lost), str(one.tied)]
        yield [task.task, task.type, str(task.queries), *_format_cells(means, one.mean), *counts]


def _make_average_rows(found: Comparison, number: int) -> Iterator[list[str]]:
    for name, average in (("tasks", found.over_tasks), ("types", found.over_types)):
        means = (average.means[0], average.means[number + 1])
        cells = _format_cells(means, average.differences[number])
        yield [f"average over {name}", "", "", *cells, "", "", ""]


def _format_cells(means: tuple[float, float], gain: RunDifference) -> list[str]:
    interval = f"[{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]"
    certain = gain.low > 0 or gain.high < 0
    cells = [f"{100 * mean:.2f}" for mean in means]
    best = max(range(2), key=lambda place: means[place])
    if means[0] != means[1]:
        cells[best] = Styled(cells[best], bold=True)
    return [
        *cells,
        style_gain(gain.difference, certain),
        interval,
        format_p_value(gain.p),
        format_p_value(gain.p_corrected),
    ]


def _make_notes(found: Comparison) -> Iterator[str]:
    types = len({task.type for task in found.tasks})
    common, of = len(found.tasks), f" of {found.of}" if len(found.tasks) < found.of else ""
    yield f"averages: {common} common task{'s' * (common != 1)}{of}, {types} type{'s' * (types != 1)}"
    for run, missing in found.missing.items():
        yield f"{run} lacks {', '.join(missing)}"
    if partial := sorted(set(found.selections) - {"all"}):
        yield f"not all queries of the tasks: {', '.join(partial)}"
    if "raw" in found.qrels:
        yield RAW
