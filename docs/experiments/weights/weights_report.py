"""Tables of the experiment on weights and directions, from the rows of its runs alone."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from weights_design import ARMS, PILOT_ARM, PILOT_SEEDS, REFERENCE, Scale

from mrb._util.files import write_bytes
from mrb._util.format import format_markdown_table
from mrb.metrics.statistics import compute_student_quantile

COLUMNS = ("stage", "arm", "clip", "learning_rate", "seed", "task", "value", "clipped_share", "cpu_seconds")
"""`cpu_seconds` are of the process that finished the run; empty where it did not count them."""
CORES = 2
Row = dict[str, str]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def find_best_rate(rows: Sequence[Row], arm: str, clip: float) -> float:
    """Return the learning rate with the highest mean over development tasks and seeds; the lowest of equals."""
    found = {rate: find_means(rows, "development", arm, clip, rate) for rate in list_rates(rows)}
    return max(found, key=lambda rate: statistics.fmean(found[rate].values()))


def list_rates(rows: Sequence[Row]) -> list[float]:
    """Return the learning rates of development, in order."""
    return sorted({float(row["learning_rate"]) for row in rows if row["stage"] == "development"})


def find_means(rows: Sequence[Row], stage: str, arm: str, clip: float, rate: float | None = None) -> dict[int, float]:
    """Return the mean over tasks by seed, times 100."""
    found: dict[int, list[float]] = {}
    for row in rows:
        wanted = (row["stage"], row["arm"], float(row["clip"])) == (stage, arm, clip)
        if wanted and rate in (None, float(row["learning_rate"])):
            found.setdefault(int(row["seed"]), []).append(100 * float(row["value"]))
    return {seed: statistics.fmean(values) for seed, values in found.items()}


def compare(rows: Sequence[Row], clip: float) -> list[list[str]]:
    """Return a table: for each arm its rate, mean and difference from the reference with its 95 % interval by seeds."""
    differences = list_differences(rows, clip)
    table = [["arm", "learning rate", "seeds", "mean", "difference", "95 % interval", "sd of differences", "would see"]]
    for arm in _list_arms(rows):
        means = find_means(rows, "test", arm, clip)
        line = [arm, f"{find_best_rate(rows, arm, clip):g}", str(len(means)), f"{statistics.fmean(means.values()):.2f}"]
        table.append([*line, *(describe_differences(differences[arm]) if arm in differences else [""] * 4)])
    return table


def list_differences(rows: Sequence[Row], clip: float) -> dict[str, list[float]]:
    """Return the differences of each arm from the reference, one a seed."""
    reference = find_means(rows, "test", REFERENCE, clip)
    found = {arm: find_means(rows, "test", arm, clip) for arm in _list_arms(rows) if arm != REFERENCE}
    return {arm: [means[seed] - reference[seed] for seed in means] for arm, means in found.items()}


def describe_differences(values: Sequence[float]) -> list[str]:
    """Return mean, 95 % interval by Student's t, standard deviation, and the difference seen with a power of 80 %."""
    count, mean, spread = len(values), statistics.fmean(values), statistics.stdev(values)
    half = compute_student_quantile(0.975, count - 1) * spread / math.sqrt(count)
    seen = compute_seen(spread, count)
    return [f"{mean:+.2f}", f"{mean - half:+.2f} to {mean + half:+.2f}", f"{spread:.2f}", f"{seen:.2f}"]


def compute_seen(spread: float, seeds: int) -> float:
    """Return the difference that a paired t test at 5 % finds with a power of 80 %, by a close approximation."""
    quantiles = compute_student_quantile(0.975, seeds - 1) + compute_student_quantile(0.8, seeds - 1)
    return quantiles * spread / math.sqrt(seeds)


def tell_difference(name: str, values: Sequence[float]) -> str:
    """Return in a sentence what differences tell."""
    mean, interval, _, seen = describe_differences(values)
    low, high = map(float, interval.split(" to "))
    if low > 0 or high < 0:
        return f"{name}: {mean}, the interval excludes 0."
    return f"{name}: not distinguishable from 0; a difference of {seen} would have been seen with a power of 80 %."


def list_effects(rows: Sequence[Row], clip: float) -> dict[str, list[float]]:
    """Return the two effects over the four arms of the grid, of the weight and of the direction, one a seed."""
    means = {
        (weight, direction): find_means(rows, "test", arm, clip)
        for arm, (weight, direction, factor) in ARMS.items()
        if factor == 1
    }
    return {
        name: [sum(sign * means[key][seed] for key, sign in signs.items()) / 2 for seed in means["sft", "sft"]]
        for name, signs in (
            ("cl weight - sft weight", {("cl", "sft"): 1, ("cl", "cl"): 1, ("sft", "sft"): -1, ("sft", "cl"): -1}),
            (
                "cl direction - sft direction",
                {("sft", "cl"): 1, ("cl", "cl"): 1, ("sft", "sft"): -1, ("cl", "sft"): -1},
            ),
        )
    }


def judge_pilot(rows: Sequence[Row], scale: Scale) -> tuple[bool, list[str]]:
    """Return whether the pilot says go, and why in lines of Markdown.

    It says go if the test stage would see `scale.seen` by the pilot's standard deviation, and all runs take at most
    `scale.minutes` on two cores by the CPU time of the pilot's.
    """
    clip = next(iter(scale.seeds))
    reference, other = (find_means(rows, "pilot", arm, clip) for arm in (REFERENCE, PILOT_ARM))
    differences = [other[seed] - reference[seed] for seed in PILOT_SEEDS]
    spread = statistics.stdev(differences)
    low, high = (spread * math.sqrt(-1 / math.log(share)) for share in (0.025, 0.975))
    tested = min(len(seeds) for _, seeds in scale.seeds.values())
    seen = compute_seen(spread, tested)
    seconds = statistics.fmean(float(row["cpu_seconds"]) for row in rows if row["stage"] == "pilot")
    runs = sum(len(scale.arms) * (len(dev) * len(scale.rates) + len(test)) for dev, test in scale.seeds.values())
    minutes = runs * seconds / 60 / CORES
    table = [["arm", *(f"seed {seed}" for seed in PILOT_SEEDS), "mean"]]
    for arm, means in ((REFERENCE, reference), (PILOT_ARM, other)):
        values = [means[seed] for seed in PILOT_SEEDS]
        table.append([arm, *(f"{value:.2f}" for value in (*values, statistics.fmean(values)))])
    go = seen <= scale.seen and minutes <= scale.minutes
    shown = ", ".join(f"{value:+.2f}" for value in differences)
    said = (
        f"Differences {shown}: standard deviation {spread:.2f}, 95 % interval {low:.2f} to {high:.2f}.",
        f"{tested} seeds would see {seen:.2f} with a power of 80 %; wanted: at most {scale.seen:.2f}.",
        f"{runs} runs of {seconds:.0f} s of CPU time: {minutes:.0f} min on {CORES} cores, at most {scale.minutes:.0f}.",
        f"By this the experiment {'goes on' if go else 'stops'}.",
    )
    return go, [*format_markdown_table(table[0], table[1:]), *(f"- {line}" for line in said), ""]


def write_report(out: Path, scale: Scale) -> None:
    """Write report.md from rows.csv."""
    with (out / "rows.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    chosen, compared = (", ".join(scale.tasks[stage]) for stage in ("development", "test"))
    intro = (
        f"nDCG@10 x 100. Learning rates are chosen on {chosen}, arms compared on {compared}. Differences and intervals "
        "are over seeds: they hold for these queries, and are not corrected for their number. *Would see* is the "
        "difference that is found with a power of 80 %."
    )
    parts = [f"# {scale.title}", "", intro, ""]
    if any(row["stage"] == "pilot" for row in rows):
        parts += ["## Pilot", "", *judge_pilot(rows, scale)[1]]
    tested = [row for row in rows if row["stage"] == "test"]
    for clip in dict.fromkeys(float(row["clip"]) for row in tested):
        parts += describe_clip([row for row in rows if row["stage"] != "pilot"], clip)
    write_bytes(out / "report.md", "\n".join(parts).encode())
    print(out / "report.md")


def describe_clip(rows: Sequence[Row], clip: float) -> list[str]:
    """Return the section of the runs with gradients clipped to a norm."""
    shares = [float(row["clipped_share"]) for row in rows if row["clipped_share"] and float(row["clip"]) == clip]
    title = f"Gradients clipped to a norm of {clip:g}" if clip else "Gradients not clipped"
    parts = [f"## {title}", ""]
    if shares:
        parts += [f"Steps whose gradient was clipped: {statistics.fmean(shares):.0%} of those logged.", ""]
    effects = list_effects(rows, clip)
    described = [[name, *describe_differences(values)] for name, values in effects.items()]
    table = compare(rows, clip)
    parts += format_markdown_table(table[0], table[1:])
    parts += format_markdown_table(
        ["effect", "difference", "95 % interval", "sd of differences", "would see"], described
    )
    told = [tell_difference(f"{arm}, against {REFERENCE}", own) for arm, own in list_differences(rows, clip).items()]
    told += [tell_difference(name, own) for name, own in effects.items()]
    parts += [*(f"- {line}" for line in told), ""]
    parts += ["Learning rates on the development tasks:", ""]
    table = [["arm", *(f"{rate:g}" for rate in list_rates(rows))]]
    for arm in _list_arms(rows):
        values = (find_means(rows, "development", arm, clip, rate).values() for rate in list_rates(rows))
        table.append([arm, *(f"{statistics.fmean(found):.2f}" for found in values)])
    return [*parts, *format_markdown_table(table[0], table[1:])]


def _list_arms(rows: Sequence[Row]) -> list[str]:
    return [arm for arm in ARMS if any(row["arm"] == arm and row["stage"] == "test" for row in rows)]
