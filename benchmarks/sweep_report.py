"""The report of a sweep, as on docs/url-grid/report.md, with its plots.

    python benchmarks/sweep_report.py url-grid

Reads the folder that `mrb train sweep NAME` filled (training.json and log.csv of each run) and writes report.md and its
plots into it: scores of the finished runs, differences between arms, effects of weight and direction, and the sizes of
the loss weights.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from svg_plots import plot_intervals, plot_lines

from mrb._util.files import write_bytes
from mrb._util.format import format_markdown_table
from mrb._util.redact import redact_text
from mrb.metrics.statistics import compute_student_quantile
from mrb.training.log import COLUMNS, Table
from mrb.training.record import TrainingRecord
from mrb.training.sweep import Sweep, SweepRun, find_default_folder, load_sweep

Finished = Mapping[tuple[str, int], tuple[SweepRun, TrainingRecord]]
REPORT = "report.md"
_FEWEST = 3
"""Fewest seeds for which an interval is given."""
_GRID = ("cl", "sft")
WEIGHTS = {"weight_positive": "Mean weight of positives", "weight_negative": "Mean weight of negatives"}
PLOTS = {"differences": "Differences"} | WEIGHTS
"""The possible plots with their titles; a plot without data is left out."""


@dataclass(frozen=True)
class Spread:
    """A mean over seeds with its 95 % interval by Student's t (None below 3 seeds)."""

    mean: float
    low: float | None
    high: float | None
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of one value per seed."""
        mean = statistics.fmean(values)
        if len(values) < _FEWEST:
            return cls(mean, None, None, len(values))
        half = compute_student_quantile(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
        return cls(mean, mean - half, mean + half, len(values))

    def text(self, sign: str = "") -> str:
        """Return the mean with its interval, times 100."""
        mean = f"{100 * self.mean:{sign}.2f}"
        if self.low is None or self.high is None:
            return mean
        return f"{mean} [{100 * self.low:{sign}.2f}, {100 * self.high:{sign}.2f}]"

    @property
    def verdict(self) -> str:
        """On which side of 0 the interval lies."""
        if self.low is None or self.high is None:
            return "too few seeds"
        if self.low > 0:
            return "above 0"
        return "below 0" if self.high < 0 else "not distinguishable from 0"


Scores = Mapping[tuple[str, int], Mapping[str, float]]
"""(arm, seed) -> task -> headline measure; the mean over tasks is under MEAN."""
MEAN = "mean"


def write_report(sweep: Sweep, out: Path, name: str) -> Path:
    """Write report.md and its plots into `out`; return the report's path. `name` is the sweep on the command line."""
    finished = sweep.read_finished()
    scores = _collect_scores(finished)
    plots = _make_plots(sweep, finished, scores)
    for plot, text in plots.items():
        write_bytes(out / f"{plot}.svg", text.encode())
    path = out / REPORT
    lines = [redact_text(line) for line in _write_lines(sweep, finished, scores, plots, name)]
    write_bytes(path, ("\n".join(lines) + "\n").encode())
    for plot in PLOTS.keys() - plots.keys():  # left by an earlier report
        (out / f"{plot}.svg").unlink(missing_ok=True)
    return path


def _make_plots(sweep: Sweep, finished: Finished, scores: Scores) -> dict[str, str]:
    """Return the SVG text of each plot that has data."""
    plots = {}
    for name, words in WEIGHTS.items():
        if lines := _average_logs(sweep, finished, name):
            plots[name] = plot_lines(f"{words}, mean over seeds", "step", lines)
    differences = {
        arm: (100 * spread.mean, 100 * spread.low, 100 * spread.high)
        for arm, spread in _compare_arms(sweep, scores).items()
        if spread.low is not None and spread.high is not None
    }
    if differences:
        title = f"Mean nDCG@10 x 100 less that of {sweep.settings.reference}, 95 % over seeds"
        plots["differences"] = plot_intervals(title, differences)
    return plots


def _format_value(names: Iterable[str]) -> Iterator[str]:
    yield from (f"![{PLOTS[name]}]({name}.svg)" for name in names)
    yield ""


def _collect_scores(finished: Finished) -> Scores:
    found: dict[tuple[str, int], dict[str, float]] = {}
    for key, (_, record) in finished.items():
        own = {result.task: result.value for result in record.results}
        if own:
            found[key] = own | {MEAN: statistics.fmean(own.values())}
    return found


def _write_lines(
    sweep: Sweep,
    finished: Finished,
    scores: Scores,
    plots: Collection[str],
    name: str,
) -> Iterator[str]:
    settings = sweep.settings
    yield f"# {settings.title}"
    yield ""
    yield (
        f"Written by `python benchmarks/sweep_report.py {name}` after `mrb train sweep {name}`: {len(finished)} of "
        f"{len(sweep.runs)} runs are finished."
    )
    if not scores:
        return
    record = next(iter(finished.values()))[1]
    yield (
        f"Each run starts from {record.recipe.model.name} and takes {record.steps:,} steps of "
        f"{record.recipe.schedule.queries} queries with {record.recipe.sampling.negatives} negatives each. Arms of one "
        "seed see the same start, the same queries and the same documents in the same order."
    )
    yield ""
    yield from _tabulate_scores(sweep, scores, record)
    yield from _tabulate_differences(sweep, scores)
    if "differences" in plots:
        yield from _format_value(["differences"])
    yield from _list_effects(sweep, scores)
    if weights := [name for name in WEIGHTS if name in plots]:
        yield "## Size of the weights"
        yield ""
        yield from _format_value(weights)
    yield "## Every run"
    yield ""
    tasks = _list_tasks(scores)
    rows = [
        [arm, str(seed), *(f"{100 * scores[arm, seed][task]:.2f}" for task in tasks)]
        for arm, seed in sorted(scores, key=lambda key: (sweep.arms.index(key[0]), key[1]))
    ]
    yield from format_markdown_table(["arm", "seed", *tasks], rows)


def _tabulate_scores(sweep: Sweep, scores: Scores, record: TrainingRecord) -> Iterator[str]:
    tasks = _list_tasks(scores)
    yield "## Scores"
    yield ""
    depth = record.recipe.evaluation.depth
    yield f"{record.results[0].measure} x 100 at depth {depth}: mean over seeds, 95 % interval."
    yield ""
    first = {result.task: result.first_stage for result in record.results}
    first[MEAN] = statistics.fmean(first.values())
    rows = [["first stage", "-", *(f"{100 * first[task]:.2f}" for task in tasks)]]
    for arm in sweep.arms:
        own = [values for (name, _), values in scores.items() if name == arm]
        if own:
            rows.append([arm, str(len(own)), *(Spread.of([one[task] for one in own]).text() for task in tasks)])
    yield from format_markdown_table(["arm", "seeds", *tasks], rows)


def _tabulate_differences(sweep: Sweep, scores: Scores) -> Iterator[str]:
    found = _compare_arms(sweep, scores)
    if not found:
        return
    yield f"## Against {sweep.settings.reference}"
    yield ""
    yield "Differences of the mean over tasks, seed by seed. Intervals are not corrected for their number."
    yield ""
    rows = [[arm, str(spread.seeds), spread.text("+"), spread.verdict] for arm, spread in found.items()]
    yield from format_markdown_table(["arm", "seeds", "difference", "interval is"], rows)


def _compare_arms(sweep: Sweep, scores: Scores) -> dict[str, Spread]:
    reference = sweep.settings.reference
    found = {}
    for arm in sweep.arms:
        both = [seed for seed in sweep.settings.seeds if (arm, seed) in scores and (reference, seed) in scores]
        if arm != reference and both:
            found[arm] = Spread.of([scores[arm, seed][MEAN] - scores[reference, seed][MEAN] for seed in both])
    return found


def _list_effects(sweep: Sweep, scores: Scores) -> Iterator[str]:
    """Yield the effects of weight and direction (the paper's two questions), from the four arms weight x direction."""
    grid = _find_grid(sweep)
    if grid is None:
        return
    seeds = [seed for seed in sweep.settings.seeds if all((arm, seed) in scores for arm in grid.values())]
    if not seeds:
        return

    def effect(of_weight: bool, seed: int) -> float:
        def mean(value: str) -> float:
            arms = [grid[value, other] if of_weight else grid[other, value] for other in _GRID]
            return statistics.fmean(scores[arm, seed][MEAN] for arm in arms)

        return mean("sft") - mean("cl")

    weight = Spread.of([effect(True, seed) for seed in seeds])
    direction = Spread.of([effect(False, seed) for seed in seeds])
    apart = Spread.of([effect(True, seed) - effect(False, seed) for seed in seeds])
    yield "## Weight or direction"
    yield ""
    yield (
        "The paper finds that SFT's advantage over CL comes from its weights and not from its direction. Here, over "
        f"the four arms and {len(seeds)} seeds, in points of mean nDCG@10 x 100:"
    )
    yield ""
    yield from format_markdown_table(
        ["SFT's in place of CL's", "effect", "interval is"],
        [
            ["weight", weight.text("+"), weight.verdict],
            ["direction", direction.text("+"), direction.verdict],
            ["weight less direction", apart.text("+"), apart.verdict],
        ],
    )
    yield _conclude(weight, direction, apart)
    yield ""


def _conclude(weight: Spread, direction: Spread, apart: Spread) -> str:
    if weight.low is None:
        return "Too few seeds to say whether that holds at this scale."
    first = {
        "above 0": "SFT's weights help at this scale, as the paper says.",
        "below 0": "SFT's weights hurt at this scale, against what the paper says.",
    }.get(weight.verdict, "At this scale SFT's weights are not distinguishable from CL's.")
    second = {
        "above 0": "SFT's direction helps as well.",
        "below 0": "SFT's direction hurts.",
    }.get(direction.verdict, "The directions are not distinguishable.")
    third = {
        "above 0": "SFT's weights do more good than its direction.",
        "below 0": "SFT's weights do less good than its direction.",
    }.get(apart.verdict, "It is not clear which of the two does more good.")
    return f"{first} {second} {third}"


def _find_grid(sweep: Sweep) -> dict[tuple[str, str], str] | None:
    """Return (weight, direction) -> arm for the four arms of the unified loss on the head's own label rows.

    None if one of the four is missing.
    """
    found: dict[tuple[str, str], str] = {}
    for run in sweep.runs:
        loss, rows = run.loaded.recipe.loss, run.loaded.recipe.rows
        if loss.name == "unified" and loss.weight in _GRID and loss.direction in _GRID and rows.start == "head":
            found.setdefault((loss.weight, loss.direction), run.arm)
    return found if len(found) == len(_GRID) ** 2 else None


def _average_logs(sweep: Sweep, finished: Finished, column: str) -> dict[str, list[tuple[float, float]]]:
    """Return for each arm that logged a column its mean over seeds, by step."""
    found: dict[str, list[tuple[float, float]]] = {}
    for arm in sweep.arms:
        by_step: dict[int, list[float]] = {}
        for (name, _), (run, _) in finished.items():
            for row in Table(run.folder / "log.csv", COLUMNS).read_rows() if name == arm else ():
                if row[column]:
                    by_step.setdefault(int(row["step"]), []).append(float(row[column]))
        if by_step:
            found[arm] = [(float(step), statistics.fmean(values)) for step, values in sorted(by_step.items())]
    return found


def _list_tasks(scores: Scores) -> list[str]:
    own = next(iter(scores.values()))
    return [*(task for task in own if task != MEAN), MEAN]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", help="A .toml file, or the name of a sweep that ships.")
    parser.add_argument("--out", type=Path, help="The sweep's folder. Default: training/SWEEP.")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="SECTION.NAME=VALUE")
    asked = parser.parse_args()
    folder = asked.out or find_default_folder(asked.sweep)
    sweep = load_sweep(asked.sweep, folder, asked.changes)
    print(f"report: {write_report(sweep, folder, asked.sweep)}")


if __name__ == "__main__":
    main()
