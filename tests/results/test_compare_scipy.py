"""`mrb compare` against scipy where the two coincide: exact sign-flip tests, and a large sample.

Random flips of MRB differ from exact ones of scipy by at most FEW, four standard errors of 9,999 flips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mrb.results.compare import compare
from mrb.results.run import Run, load_run

MEASURE = "nDCG@10"
FEW = 0.02
MakeRun = Callable[..., Run]


@pytest.fixture
def run(make_run: Callable[..., Path]) -> MakeRun:
    """`run(name, {task: values}, clusters)`: a run with these values per query."""

    def made(name: str, values: Mapping[str, np.ndarray], clusters: np.ndarray | None = None) -> Run:
        found = load_run(make_run(name, suite=None, tasks=tuple(values), queries=2))
        tasks = {
            task: replace(
                found.tasks[task],
                values={MEASURE: numbers},
                query_ids=tuple(map(str, range(len(numbers)))),
                clusters=np.arange(len(numbers)) if clusters is None else clusters,
            )
            for task, numbers in values.items()
        }
        return Run(found.folder, found.record, tasks)

    return made


def _exact_p(gains: np.ndarray) -> float:
    """scipy's exact paired permutation test of the sum of `gains` against nothing."""

    def difference(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return (a - b).sum(axis=axis)

    found = stats.permutation_test(
        (gains, np.zeros_like(gains)), difference, permutation_type="samples", vectorized=True, n_resamples=np.inf
    )
    return float(found.pvalue)


@pytest.mark.parametrize("seed", range(8))
def test_p_of_a_task_is_scipys_exact_one(run: MakeRun, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Multiples of 1/64 so that equal sums are equal in both implementations.
    a, b = (rng.integers(0, 65, 11) / 64 for _ in range(2))
    found = compare([run("a", {"scifact": a}), run("b", {"scifact": b})])
    p = found.tasks[0].differences[0].mean.p
    assert found.over_tasks.differences[0].p == p
    if stats.skew(b - a) * (b - a).mean() >= 0:
        assert p == pytest.approx(_exact_p(b - a), abs=FEW)
    else:  # the interval is longer towards zero, where the long tail is
        assert p > _exact_p(b - a) - FEW


def test_p_of_clusters_is_that_of_their_sums(run: MakeRun) -> None:
    rng = np.random.default_rng(3)
    clusters = np.array([0, 0, 0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9])
    a, b = (rng.integers(0, 65, 15) / 64 for _ in range(2))
    found = compare([run("a", {"scifact": a}, clusters), run("b", {"scifact": b}, clusters)])
    assert found.tasks[0].differences[0].mean.p == pytest.approx(_exact_p(np.bincount(clusters, b - a)), abs=FEW)


def test_the_interval_of_a_large_sample_is_scipys_bootstrap(run: MakeRun) -> None:
    rng = np.random.default_rng(5)
    a = rng.beta(0.6, 0.4, 3000)
    b = np.clip(a + rng.normal(0.02, 0.2, 3000), 0, 1)
    mean = compare([run("a", {"scifact": a}), run("b", {"scifact": b})]).tasks[0].differences[0].mean
    theirs = stats.bootstrap(
        (b - a,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(6)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert mean.difference == pytest.approx(float((b - a).mean()), abs=1e-12)
    assert mean.low == pytest.approx(theirs.low, abs=0.08 * width)
    assert mean.high == pytest.approx(theirs.high, abs=0.08 * width)


def test_p_of_many_queries_is_near_the_paired_t_test(run: MakeRun) -> None:
    rng = np.random.default_rng(7)
    a = rng.uniform(size=500)
    b = np.clip(a + rng.normal(0.018, 0.2, 500), 0, 1)
    mean = compare([run("a", {"scifact": a}), run("b", {"scifact": b})]).tasks[0].differences[0].mean
    assert mean.p == pytest.approx(stats.ttest_rel(b, a).pvalue, abs=0.01)
