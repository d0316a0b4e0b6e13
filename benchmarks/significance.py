"""Level, power and coverage of the tests between models (`mrb.metrics.significance`), by simulation.

    python benchmarks/significance.py --runs 300

Prints Markdown tables: for pairs, the share of `--runs` simulated pairs with p < 0.05 and the share of intervals that
hold the true difference; for tables of models, the share with any false difference, and of models whose rank bounds
hold the true rank.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt

from mrb.metrics.significance import ALPHA, PairedTests, bound_ranks
from mrb.metrics.statistics import TaskSample

Float64 = npt.NDArray[np.float64]
Simulated = tuple[list[TaskSample], float]
"""One sample a task, with the two models as columns, and the true average difference."""
GAINS = np.concatenate(([0.0], 1 / np.log2(np.arange(2, 12))))
"""nDCG@10 of a query with one positive: 0 if it is not found, else by its rank."""
LAW = np.concatenate(([0.2], 0.8 * 0.4 * 0.6 ** np.arange(10) / (1 - 0.6**10)))
JUMPS = (0.13, 0.37, 0.5, 0.63)
TABLES = {5: 200, 20: 40, 100: 4}
"""Models in a table, and how many tables are simulated at most."""


def make_sample(name: str, differences: Float64, clusters: Float64 | None = None) -> TaskSample:
    """Return a task in which the second model has these differences to the first."""
    keys = None if clusters is None else clusters.astype(str).tolist()
    return TaskSample(name, "t2t", np.column_stack((np.zeros(len(differences)), differences)), keys)


def draw_models(rng: np.random.Generator, queries: int, models: int, kept: float) -> Float64:
    """Return nDCG-like values of equally good models, of which a share `kept` of queries has the same ranking."""
    shared, own = rng.choice(GAINS, (queries, 1), p=LAW), rng.choice(GAINS, (queries, models), p=LAW)
    return np.where(rng.random((queries, models)) < kept, shared, own)


def simulate_alike(seed: int, tasks: int, queries: int, kept: float) -> Simulated:
    """Equally good models: p < 0.05 is a false alarm."""
    rng = np.random.default_rng(seed)
    drawn = [draw_models(rng, queries, 2, kept) for _ in range(tasks)]
    return [TaskSample(f"{seed}-{k}", "t2t", values) for k, values in enumerate(drawn)], 0.0


def simulate_wins(seed: int, tasks: int, share: float) -> Simulated:
    """200 queries, of which a share differs; the second model wins all of those."""
    rng = np.random.default_rng(seed)
    gains = [(rng.random(200) < share) * rng.choice(JUMPS, 200) for _ in range(tasks)]
    return [make_sample(f"{seed}-{k}", own) for k, own in enumerate(gains)], share * float(np.mean(JUMPS))


def simulate_hits(seed: int, first: float, second: float) -> Simulated:
    """Hits (0 or 1) of 200 queries with these means, alike in most queries."""
    rng = np.random.default_rng(seed)
    luck = np.where(rng.random((200, 2)) < 0.7, rng.random((200, 1)), rng.random((200, 2)))
    values = (luck < [first, second]).astype(float)
    return [TaskSample(f"{seed}", "t2t", values)], second - first


def simulate_clusters(seed: int, clusters: int, effect: float) -> Simulated:
    """Clusters of one to eight queries that have a part of the difference in common."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, clusters)
    means = np.repeat(rng.normal(effect, 0.1, clusters), sizes)
    return [make_sample(f"{seed}", rng.normal(means, 0.15), np.repeat(np.arange(clusters), sizes))], effect


def simulate_opposite(seed: int, tasks: int, effect: float) -> Simulated:
    """80 queries a task, gains of 0.1 and losses of 0.1 by turns, and an effect on all."""
    rng = np.random.default_rng(seed)
    means = [effect + (0.1 if k % 2 else -0.1) for k in range(tasks)]
    return [make_sample(f"{seed}-{k}", rng.normal(mean, 0.2, 80)) for k, mean in enumerate(means)], effect


PAIRS: dict[str, Callable[[int], Simulated]] = {
    "alike, 5 tasks of 80": partial(simulate_alike, tasks=5, queries=80, kept=0.6),
    "alike, 200 queries, 3 % differ": partial(simulate_alike, tasks=1, queries=200, kept=0.985),
    "alike, hits, mean 0.95, 200 queries": partial(simulate_hits, first=0.95, second=0.95),
    "alike, 60 clusters": partial(simulate_clusters, clusters=60, effect=0.0),
    "alike, 20 clusters": partial(simulate_clusters, clusters=20, effect=0.0),
    "alike, 4 tasks of opposite effects": partial(simulate_opposite, tasks=4, effect=0.0),
    "200 queries, 3 % differ, all won": partial(simulate_wins, tasks=1, share=0.03),
    "200 queries, 5 % differ, all won": partial(simulate_wins, tasks=1, share=0.05),
    "200 queries, 10 % differ, all won": partial(simulate_wins, tasks=1, share=0.1),
    "9 tasks of 200, 5 % differ, all won": partial(simulate_wins, tasks=9, share=0.05),
    "hits, 0.95 against 0.99": partial(simulate_hits, first=0.95, second=0.99),
    "60 clusters, effect 0.04": partial(simulate_clusters, clusters=60, effect=0.04),
    "4 tasks of opposite effects, effect 0.03": partial(simulate_opposite, tasks=4, effect=0.03),
}


def test_pair(seed: int, simulate: Callable[[int], Simulated]) -> tuple[bool, bool]:
    """Return whether the two models differ significantly, and whether the interval holds the true difference."""
    samples, truth = simulate(seed)
    found = PairedTests(samples).test_average("tasks")[0, 1]
    return found.p < ALPHA, found.low <= truth <= found.high


def test_table(seed: int, models: int, losses: int) -> tuple[bool, float, float]:
    """Test a table in which the last `losses` models are worse, each by another step of 5 % (4 %
    if there are 20).

    Returns whether models that are alike differ significantly, the share of models whose bounds hold their rank, and
    the share of true differences that are significant.
    """
    rng = np.random.default_rng(seed)
    good = models - losses
    step = min(0.05, 0.8 / max(1, losses))
    factors = 1 - step * np.maximum(0, np.arange(models) - good + 1)
    samples = [TaskSample(f"{seed}-{k}", "t2t", draw_models(rng, 80, models, 0.6) * factors) for k in range(5)]
    tests = PairedTests(samples).test_average("tasks")
    alike = {pair for pair in tests if max(pair) < good}
    found = {pair for pair, test in tests.items() if test.p_corrected < ALPHA}
    inside = [
        own.best <= (1 if k < good else k + 1) and own.worst >= (good if k < good else k + 1)
        for k, own in enumerate(bound_ranks(models, tests))
    ]
    different = tests.keys() - alike
    return bool(found & alike), float(np.mean(inside)), len(found & different) / max(1, len(different))


def print_rows(head: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n| {' | '.join(head)} |\n|---|{'---|' * (len(head) - 1)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    with ProcessPoolExecutor() as pool:
        rows = []
        for name, simulate in PAIRS.items():
            shares = np.mean(list(pool.map(partial(test_pair, simulate=simulate), range(runs), chunksize=10)), axis=0)
            rows.append([name, *(f"{100 * share:.1f} %" for share in shares)])
        print_rows([f"{runs} pairs", "p < 0.05", "interval covers"], rows)
        rows = []
        for models, most in TABLES.items():
            for losses in (0, models // 5):
                tables = min(runs, most)
                test = partial(test_table, models=models, losses=losses)
                shares = np.mean(list(pool.map(test, range(tables))), axis=0)
                shown = [f"{100 * share:.1f} %" for share in shares]
                rows.append([f"{models} models, {losses} worse", str(tables), *shown[:2], shown[2] if losses else ""])
        print_rows(["models", "tables", "any false difference", "bounds hold the rank", "true differences found"], rows)


if __name__ == "__main__":
    main()
