"""Supervised or contrastive weights, supervised or contrastive direction: six arms of one small model.

    python docs/experiments/weights/experiment.py run --out training/weights --processes 2
    python docs/experiments/weights/experiment.py report --out training/weights

`run` trains in two stages: every arm with four learning rates, scored on development tasks only; then every arm with
the rate that was best for it, with other seeds, scored on test tasks only. Both are done with gradients clipped and not
clipped. It can be killed at any moment and goes on; at its end it writes `rows.csv` into --out.
`report` writes `report.md` from `rows.csv` alone.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import math
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from mrb._util.files import write_bytes
from mrb._util.format import format_markdown_table
from mrb.metrics.statistics import compute_student_quantile
from mrb.training.record import read_training_record

NEGATIVES = 7
ARMS = {
    "sft weight, sft direction": ("sft", "sft", 1),
    "sft weight, cl direction": ("sft", "cl", 1),
    "cl weight, sft direction": ("cl", "sft", 1),
    "cl weight, cl direction": ("cl", "cl", 1),
    "sft weight balanced, sft direction": ("sft", "sft", NEGATIVES),
    "cl weight scaled, sft direction": ("cl-scaled", "sft", 1),
}
"""Weight, direction and factor of the positives' weight."""
REFERENCE = next(iter(ARMS))
RATES = (1.5e-4, 3e-4, 6e-4, 1e-3)
CLIPS = (1.0, 0.0)
"""Largest norm of a gradient; 0 means that none is clipped."""
TASKS = {
    "development": ("mini-fact-it2t-dev", "mini-fact-it2it-dev"),
    "test": ("mini-fact-it2t", "mini-fact-it2it"),
}
SEEDS = {1.0: (range(3), range(100, 120)), 0.0: (range(1), range(100, 107))}
"""Seeds of development and of test by clip. No seed is in both."""
COLUMNS = ("stage", "arm", "clip", "learning_rate", "seed", "task", "value", "clipped_share")


@dataclass(frozen=True)
class Run:
    """One training: `clip` 0 means none."""

    stage: str
    arm: str
    clip: float
    rate: float
    seed: int

    @property
    def folder(self) -> str:
        """Path below the experiment's folder."""
        return "/".join(
            (
                self.stage,
                self.arm.replace(", ", "-").replace(" ", "-"),
                f"clip-{self.clip:g}",
                f"rate-{self.rate:g}",
                f"seed-{self.seed}",
            )
        )

    def list_changes(self, more: Sequence[str] = ()) -> list[str]:
        """Return the settings that differ from the recipe `tiny-arm`; `more` come last."""
        weight, direction, positive = ARMS[self.arm]
        changes = ["loss.name='unified'", f"loss.weight='{weight}'", f"loss.direction='{direction}'"]
        changes += [f"loss.positive_weight={positive}", f"schedule.learning_rate={self.rate}"]
        changes += [f"schedule.clip={self.clip}", f"schedule.seed={self.seed}"]
        changes += [f"evaluation.tasks={list(TASKS[self.stage])}"]
        if direction == "cl":
            changes.append("model.layout='gmr-tiny-cl'")
        return [*changes, *more]


Row = dict[str, str]


def list_development(arms: Sequence[str], clips: Sequence[float]) -> list[Run]:
    """Return the runs that choose a learning rate, all arms of one seed first."""
    return [
        Run("development", arm, clip, rate, seed)
        for clip in clips
        for seed in SEEDS[clip][0]
        for arm, rate in itertools.product(arms, RATES)
    ]


def list_test(rows: Sequence[Row], arms: Sequence[str], clips: Sequence[float]) -> list[Run]:
    """Return the runs on test tasks, each arm with its own best learning rate."""
    best = {(arm, clip): find_best_rate(rows, arm, clip) for arm, clip in itertools.product(arms, clips)}
    return [Run("test", arm, clip, best[arm, clip], seed) for clip in clips for seed in SEEDS[clip][1] for arm in arms]


def find_best_rate(rows: Sequence[Row], arm: str, clip: float) -> float:
    """Return the learning rate with the highest mean over development tasks and seeds."""
    return max(RATES, key=lambda rate: statistics.fmean(_find_means(rows, "development", arm, clip, rate).values()))


def _find_means(rows: Sequence[Row], stage: str, arm: str, clip: float, rate: float | None = None) -> dict[int, float]:
    """Return the mean over tasks by seed, times 100."""
    found: dict[int, list[float]] = {}
    for row in rows:
        wanted = (row["stage"], row["arm"], float(row["clip"])) == (stage, arm, clip)
        if wanted and rate in (None, float(row["learning_rate"])):
            found.setdefault(int(row["seed"]), []).append(100 * float(row["value"]))
    return {seed: statistics.fmean(values) for seed, values in found.items()}


def train_run(run: Run, out: Path, more: Sequence[str]) -> Run:
    """Train one run in this process on one thread, and keep its record and its log."""
    import torch

    from mrb.training.recipe import load_recipe
    from mrb.training.run import train

    torch.set_num_threads(1)
    folder = out / run.folder
    train(load_recipe("tiny-arm", run.list_changes(more)), folder, fresh=False, command=(sys.argv[0], "run"))
    for name in ("model", "start"):  # several megabytes a run
        shutil.rmtree(folder / name, ignore_errors=True)
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    return run


def read_rows(out: Path, runs: Sequence[Run]) -> Iterator[Row]:
    """Yield a row for each task of each finished run."""
    for run in runs:
        record = read_training_record(out / run.folder)
        if record is None or not record.finished:
            continue
        share = _find_clipped_share(out / run.folder / "log.csv", run.clip)
        for result in record.results:
            values = (run.stage, run.arm, run.clip, run.rate, run.seed, result.task, result.value, share)
            yield {name: str(value) for name, value in zip(COLUMNS, values, strict=True)}


def _find_clipped_share(path: Path, clip: float) -> str:
    """Return the share of logged steps whose gradient was longer than `clip`."""
    with path.open(encoding="utf-8") as file:
        norms = [float(row["grad_norm"]) for row in csv.DictReader(file) if row["grad_norm"]]
    return f"{sum(norm > clip for norm in norms) / len(norms):.3f}" if clip and norms else ""


def run_stage(runs: Sequence[Run], out: Path, processes: int, more: Sequence[str]) -> None:
    """Train the runs that are not finished, so many at a time."""
    left = [run for run in runs if not any(read_rows(out, [run]))]
    print(f"{runs[0].stage}: {len(runs) - len(left)} of {len(runs)} runs are finished", flush=True)
    started = time.monotonic()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(train_run, run, out, more) for run in left]
        for number, done in enumerate(as_completed(waiting), start=1):
            each = (time.monotonic() - started) / number
            print(
                f"{done.result().folder}: {number} of {len(left)}, {60 / each:.2f} a minute, "
                f"{each * (len(left) - number) / 60:.0f} min left",
                flush=True,
            )


def write_rows(out: Path, rows: Sequence[Row]) -> None:
    """Write rows.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(out / "rows.csv", text.getvalue().encode())


def compare(rows: Sequence[Row], clip: float) -> list[list[str]]:
    """Return a table: for each arm its rate, mean and difference from the reference with its 95 % interval by seeds."""
    reference = _find_means(rows, "test", REFERENCE, clip)
    table = [["arm", "learning rate", "seeds", "mean", "difference", "95 % interval", "sd of differences", "would see"]]
    for arm in ARMS:
        means = _find_means(rows, "test", arm, clip)
        line = [arm, f"{find_best_rate(rows, arm, clip):g}", str(len(means)), f"{statistics.fmean(means.values()):.2f}"]
        differences = [means[seed] - reference[seed] for seed in means if seed in reference]
        line += describe_differences(differences) if arm != REFERENCE else [""] * 4
        table.append(line)
    return table


def describe_differences(values: Sequence[float]) -> list[str]:
    """Return mean, 95 % interval by Student's t, standard deviation, and the difference seen with a power of 80 %."""
    count, mean, spread = len(values), statistics.fmean(values), statistics.stdev(values)
    error = spread / math.sqrt(count)
    half = compute_student_quantile(0.975, count - 1) * error
    seen = (compute_student_quantile(0.975, count - 1) + compute_student_quantile(0.8, count - 1)) * error
    return [f"{mean:+.2f}", f"{mean - half:+.2f} to {mean + half:+.2f}", f"{spread:.2f}", f"{seen:.2f}"]


def list_effects(rows: Sequence[Row], clip: float) -> list[list[str]]:
    """Return a table of the two effects over the four arms of the grid: of the weight and of the direction."""
    means = {
        (weight, direction): _find_means(rows, "test", arm, clip)
        for arm, (weight, direction, factor) in ARMS.items()
        if factor == 1
    }
    table = [["effect", "difference", "95 % interval", "sd of differences", "would see"]]
    seeds = list(means["sft", "sft"])
    for name, signs in (
        ("cl weight - sft weight", {("cl", "sft"): 1, ("cl", "cl"): 1, ("sft", "sft"): -1, ("sft", "cl"): -1}),
        ("cl direction - sft direction", {("sft", "cl"): 1, ("cl", "cl"): 1, ("sft", "sft"): -1, ("cl", "sft"): -1}),
    ):
        values = [sum(sign * means[key][seed] for key, sign in signs.items()) / 2 for seed in seeds]
        table.append([name, *describe_differences(values)])
    return table


def write_report(out: Path) -> None:
    """Write report.md from rows.csv."""
    with (out / "rows.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parts = ["# Weights and directions on a small model", ""]
    for clip in CLIPS:
        shares = [float(row["clipped_share"]) for row in rows if row["clipped_share"] and float(row["clip"]) == clip]
        title = f"Gradients clipped to a norm of {clip:g}" if clip else "Gradients not clipped"
        parts += [f"## {title}", ""]
        if shares:
            parts += [f"Steps whose gradient was clipped: {statistics.fmean(shares):.0%} of those logged.", ""]
        for table in (compare(rows, clip), list_effects(rows, clip)):
            parts += format_markdown_table(table[0], table[1:])
        parts += ["Learning rates on the development tasks:", ""]
        table = [["arm", *(f"{rate:g}" for rate in RATES)]]
        for arm in ARMS:
            values = (_find_means(rows, "development", arm, clip, rate).values() for rate in RATES)
            table.append([arm, *(f"{statistics.fmean(found):.2f}" for found in values)])
        parts += format_markdown_table(table[0], table[1:])
    write_bytes(out / "report.md", "\n".join(parts).encode())
    print(out / "report.md")


def main() -> None:
    """Run the experiment or write its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "report"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--set", action="append", default=[], help="a setting of all runs, as section.name=value")
    given = parser.parse_args()
    if given.command == "report":
        write_report(given.out)
        return
    development = list_development(list(ARMS), CLIPS)
    run_stage(development, given.out, given.processes, given.set)
    rows = list(read_rows(given.out, development))
    tested = list_test(rows, list(ARMS), CLIPS)
    run_stage(tested, given.out, given.processes, given.set)
    write_rows(given.out, [*rows, *read_rows(given.out, tested)])


if __name__ == "__main__":
    main()
