"""How often 95 % intervals of means hold the truth, by simulation (differences: `benchmarks/significance.py`).

    python benchmarks/coverage.py --runs 1000

Every cell is the share of `--runs` simulated tasks (or suites). Prints Markdown tables; `--out` writes JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mrb.metrics.statistics import TaskSample, compute_averages, compute_interval

Float64 = npt.NDArray[np.float64]
GAINS = np.concatenate(([0.0], 1 / np.log2(np.arange(2, 12))))
"""nDCG@10 of a query with one positive: 0 where it is lost, else by its rank."""
NDCG = {"mean 0.20": (0.6, 0.1), "mean 0.57": (0.2, 0.4), "mean 0.83": (0.1, 0.8), "mean 0.91": (0.05, 0.9)}
HITS = (0.5, 0.9, 0.95)
QUERIES = (50, 100, 200, 500)
CLUSTERS = (30, 60, 150)
MINI = (166, 200, 119, 183, 119, 119, 200, 200, 200)
"""Queries of the nine tasks of the mini suite."""


def distribution(lost: float, first: float) -> Float64:
    """Chances of the values GAINS: `lost` of queries score 0, the others' rank is geometric with chance `first`."""
    ranks = first * (1 - first) ** np.arange(10)
    return np.concatenate(([lost], (1 - lost) * ranks / ranks.sum()))


def task_run(seed: int, queries: int, values: Float64, chances: Float64) -> bool:
    """Whether the interval of one simulated task holds the true mean."""
    drawn = np.random.default_rng(seed).choice(values, queries, p=chances)
    found = compute_interval(drawn, seed=seed)
    return bool(found.low <= values @ chances <= found.high)


def cluster_run(seed: int, clusters: int) -> bool:
    """As `task_run`, with clusters of one to eight queries that differ in how easy they are; the true mean is 0.5."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, clusters)
    ease = np.repeat(rng.beta(1, 1, clusters), sizes)
    keys = [str(key) for key in np.repeat(np.arange(clusters), sizes)]
    found = compute_interval((rng.random(len(ease)) < ease).astype(float), keys, seed=seed)
    return bool(found.low <= 0.5 <= found.high)


def suite_run(seed: int, sizes: tuple[int, ...]) -> tuple[bool, bool]:
    """Whether the intervals over tasks and over types hold the true averages of one simulated suite; the first type
    has two tasks where there are more than nine, so that the two averages differ."""
    rng = np.random.default_rng(seed)
    laws = [distribution(lost, first) for lost, first in NDCG.values()]
    kinds = [str(number % 9) for number in range(len(sizes))]
    chosen = [laws[number % len(laws)] for number in range(len(sizes))]
    samples = [
        TaskSample(f"{seed}-{number}", kind, rng.choice(GAINS, (size, 1), p=law))
        for number, (size, kind, law) in enumerate(zip(sizes, kinds, chosen, strict=True))
    ]
    found = compute_averages(samples)
    means = np.array([GAINS @ law for law in chosen])
    types = [np.mean([m for m, k in zip(means, kinds, strict=True) if k == kind]) for kind in sorted(set(kinds))]
    truths = (float(means.mean()), float(np.mean(types)))
    ends = (found.over_tasks[0], found.over_types[0])
    inside = [bool(end.low <= truth <= end.high) for end, truth in zip(ends, truths, strict=True)]
    return inside[0], inside[1]


def share(pool: ProcessPoolExecutor, run: Callable[[int], bool], runs: int) -> float:
    """The share of seeds 0, 1, ... for which `run` is true."""
    return float(np.mean(list(pool.map(run, range(runs), chunksize=25))))


def measured(runs: int, pool: ProcessPoolExecutor) -> dict[str, dict[str, float]]:
    """Every table as {row: {column: share}}."""
    rows = {f"nDCG-like values, {name}": (GAINS, distribution(*law)) for name, law in NDCG.items()}
    rows |= {f"hits, mean {p:g}": (np.array([0.0, 1.0]), np.array([1 - p, p])) for p in HITS}
    found = {
        row: {f"{n} queries": share(pool, partial(task_run, queries=n, values=v, chances=c), runs) for n in QUERIES}
        for row, (v, c) in rows.items()
    }
    found["clusters of 1 to 8 queries"] = {
        f"{n} clusters": share(pool, partial(cluster_run, clusters=n), runs) for n in CLUSTERS
    }
    for name, sizes in (
        ("averages, the 9 tasks of mini", MINI),
        ("averages, 15 tasks of 50 to 500", (50, 200, 500) * 5),
    ):
        both = np.array(list(pool.map(partial(suite_run, sizes=sizes), range(runs), chunksize=25)))
        found[name] = {"over tasks": float(both[:, 0].mean()), "over types": float(both[:, 1].mean())}
    return found


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with ProcessPoolExecutor() as pool:
        found = measured(options.runs, pool)
    columns: tuple[str, ...] = ()
    for row, cells in found.items():
        if tuple(cells) != columns:
            columns = tuple(cells)
            print(f"\n| {options.runs} runs | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
        print(f"| {row} | {' | '.join(f'{100 * cell:.1f} %' for cell in cells.values())} |")
    if options.out:
        options.out.write_text(json.dumps({"runs": options.runs, "shares": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
