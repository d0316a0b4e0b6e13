"""Runs and comparisons as pandas tables, for notebooks and plots. Numbers are fractions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mrb.results.export import list_task_rows

if TYPE_CHECKING:
    import pandas as pd

    from mrb.results.compare import AverageComparison, Comparison, RunDifference
    from mrb.results.run import Run

RUN_COLUMNS = (
    "run", "reranker", "task", "type", "measure", "first_stage", "mean", "low", "high", "oracle", "gain",
    "queries", "depth", "selection", "qrels", "candidates",
)  # fmt: skip
COMPARISON_COLUMNS = (
    "task", "type", "queries", "measure", "base", "run", "base_mean", "mean", "gain", "low", "high", "p", "p_corrected",
    "won", "lost", "tied",
)  # fmt: skip


def make_run_frame(run: Run) -> pd.DataFrame:
    """Return the table of `Run.to_frame`, with the columns RUN_COLUMNS."""
    import pandas as pd

    frame = pd.DataFrame(list(list_task_rows(run)), columns=[name for name in RUN_COLUMNS if name != "gain"])
    frame.insert(RUN_COLUMNS.index("gain"), "gain", frame["mean"] - frame["first_stage"])
    return frame


def make_comparison_frame(found: Comparison) -> pd.DataFrame:
    """Return the table of `Comparison.to_frame`, with the columns COMPARISON_COLUMNS."""
    import pandas as pd

    frame = pd.DataFrame(list(_list_rows(found)), columns=list(COMPARISON_COLUMNS))
    counts = ["queries", "won", "lost", "tied"]
    return frame.astype(dict.fromkeys(counts, "Int64"))


def _list_rows(found: Comparison) -> Iterator[dict[str, object]]:
    for task in found.tasks:
        for number, one in enumerate(task.differences, start=1):
            yield {
                "task": task.task, "type": task.type, "queries": task.queries,
                **_describe_gain(found, one.mean, task.means[0], task.means[number]),
                "won": one.won, "lost": one.lost, "tied": one.tied,
            }  # fmt: skip
    averages: dict[str, AverageComparison] = {"tasks": found.over_tasks, "types": found.over_types}
    for over, average in averages.items():
        for number, gain in enumerate(average.differences, start=1):
            means = average.means[0], average.means[number]
            yield {"task": f"average over {over}", "type": "", **_describe_gain(found, gain, *means)}


def _describe_gain(found: Comparison, gain: RunDifference, base: float, mean: float) -> dict[str, object]:
    return {
        "measure": found.measure, "base": found.runs[0], "run": gain.run, "base_mean": base, "mean": mean,
        "gain": gain.difference, "low": gain.low, "high": gain.high, "p": gain.p, "p_corrected": gain.p_corrected,
    }  # fmt: skip
