"""How far a number of mrb-lite is from the number on all queries: simulated, printed as tables.

    mrb run --model surface --out runs && mrb run --model random --out runs
    python benchmarks/lite_error.py runs/surface runs/random

The values per query of the 40 sets are not known here. What stands in for them is each (run, task) of the runs given:
a set's N values are drawn from the run's values per query, the sample takes n = 200 of the N. The last row of each
table assumes nothing: values of 0 and 1, evenly, have the greatest spread that a measure can have. Queries that share
an image do not matter here, because the sample takes queries and not images.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mrb.data.task import Task, load_suite, load_task
from mrb.metrics.statistics import RESAMPLES, TaskSample, compute_averages, compute_intervals, derive_task_seed
from mrb.results.run import load_run

Float64 = npt.NDArray[np.float64]
MEASURE = "nDCG@10"
HALVES = np.array([0.0, 1.0])
WORST = "half 0, half 1"
SIZES = (400, 1000, 5000, 50_000)
SUITE = load_suite("mrb-lite")
assert SUITE.sample is not None
SAMPLE = SUITE.sample.queries


@dataclass(frozen=True)
class Drawn:
    """Repetitions of one task: `samples` float64[repeats, n], and `whole` float64[repeats], the means of all N."""

    samples: Float64
    whole: Float64

    @property
    def errors(self) -> Float64:
        """The sample's mean minus the mean of all, float64[repeats]."""
        return np.asarray(self.samples.mean(axis=1) - self.whole)


def draw(values: Float64, queries: int, repeats: int, rng: np.random.Generator, n: int = SAMPLE) -> Drawn:
    """`repeats` sets of `queries` values from the distribution of `values`, and a sample of `n` of each.

    A random part of independent draws is independent of the rest, so the rest needs only its sum: of the counts of
    each distinct value.
    """
    n = min(n, queries)
    samples = rng.choice(values, (repeats, n))
    distinct, counts = np.unique(values, return_counts=True)
    rest = rng.multinomial(queries - n, counts / counts.sum(), repeats) @ distinct
    return Drawn(samples, (samples.sum(axis=1) + rest) / queries)


def coverage(drawn: Drawn, resamples: int = RESAMPLES) -> float:
    """How often the 95 % interval of the sample, as MRB computes it, holds the mean of all queries.

    One resampling serves all repetitions, as one serves all runs of a task in MRB.
    """
    found = compute_intervals(drawn.samples.T, seed=derive_task_seed("mrb-lite"), resamples=resamples)
    return float(np.mean([own.low <= whole <= own.high for own, whole in zip(found, drawn.whole, strict=True)]))


def average_coverage(
    tasks: Sequence[Task], drawn: Sequence[Drawn], resamples: int = RESAMPLES
) -> tuple[float, float, Float64, Float64]:
    """How often the intervals of the averages over tasks and over types hold those of all queries; and the errors of
    both averages, float64[repeats] each."""
    types = [task.type for task in tasks]
    shares = np.array([1 / len(set(types)) / types.count(name) for name in types])
    errors = np.array([one.errors for one in drawn])
    wholes = np.array([one.whole for one in drawn])
    samples = [TaskSample(task.id, task.type, one.samples.T) for task, one in zip(tasks, drawn, strict=True)]
    found = compute_averages(samples, resamples=resamples)
    rates = [
        float(np.mean([own.low <= truth <= own.high for own, truth in zip(ends, truths, strict=True)]))
        for ends, truths in ((found.over_tasks, wholes.mean(axis=0)), (found.over_types, shares @ wholes))
    ]
    return rates[0], rates[1], errors.mean(axis=0), shares @ errors


def within(errors: Float64) -> float:
    """The points (fractions times 100) that 95 % of the errors stay within."""
    return 100 * float(np.quantile(np.abs(errors), 0.95))


def distributions(runs: Sequence[Path]) -> dict[str, Float64]:
    """`run, task` -> values per query of every task of the runs, by rising spread."""
    found = {
        f"{run.name}, {task_id}": scores.values[MEASURE]
        for run in map(load_run, runs)
        for task_id, scores in run.tasks.items()
    }
    return dict(sorted(found.items(), key=lambda item: float(item[1].std())))


def task_table(found: Mapping[str, Float64], repeats: int, seed: int) -> Iterator[str]:
    """The sampling error and the coverage for sets of several sizes: least, middle and greatest spread."""
    names = list(found)
    header = "".join(f"{f'N = {size:,}':>16}" for size in SIZES)
    yield f"{'values per query of':<34} spread{header}"
    rows = {name: found[name] for name in (names[0], names[len(names) // 2], names[-1])}
    for name, values in (rows | {WORST: HALVES}).items():
        cells = ""
        for size in SIZES:
            drawn = draw(values, size, repeats, np.random.default_rng([seed, size]))
            cells += f"{within(drawn.errors):>8.2f} {100 * coverage(drawn):>5.1f} %"
        yield f"{name:<34} {values.std():>6.3f}{cells}"


def average_table(found: Mapping[str, Float64], repeats: int, seed: int) -> Iterator[str]:
    """The same for both averages: every task's values from one of the distributions, at random."""
    rng = np.random.default_rng(seed)
    tasks = [load_task(task_id) for task_id in SUITE.tasks]
    values = list(found.values())
    mixed = [values[int(rng.integers(len(values)))] for _ in tasks]
    for name, chosen in (("those of the runs, at random", mixed), (WORST, [HALVES] * len(tasks))):
        drawn = [draw(own, task.size.queries, repeats, rng) for own, task in zip(chosen, tasks, strict=True)]
        over_tasks, over_types, task_errors, type_errors = average_coverage(tasks, drawn)
        yield (
            f"{name:<34} over {len(tasks)} tasks {within(task_errors):.2f} {100 * over_tasks:.1f} %, "
            f"over types {within(type_errors):.2f} {100 * over_types:.1f} %"
        )


def main() -> None:
    """Print the tables for the run folders given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    found = distributions(given.runs)
    spreads = np.array([values.std() for values in found.values()])
    print(f"{MEASURE} of samples of {SAMPLE} queries, {given.repeats} repetitions, seed {given.seed}")
    print(
        f"spread (standard deviation over queries) of {len(found)} tasks of runs: {spreads.min():.3f} to "
        f"{spreads.max():.3f}, median {np.median(spreads):.3f}; more than 0.5 is not possible"
    )
    print("each cell: 95 % of samples are within so many points of all N queries; coverage of the sample's interval")
    for line in (
        *task_table(found, given.repeats, given.seed),
        *average_table(found, given.repeats, given.seed),
    ):
        print(line)


if __name__ == "__main__":
    main()
