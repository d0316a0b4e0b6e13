"""Intervals of means against exact arithmetic and scipy, and their coverage."""

import hashlib
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mrb.metrics.statistics import (
    TaskSample,
    compute_averages,
    compute_interval,
    compute_student_quantile,
    derive_task_seed,
)

pytestmark = pytest.mark.slow

GAINS = np.concatenate(([0.0], 1 / np.log2(np.arange(2, 12))))


def seed_of(*parts):
    return int(hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()[:16], 16)


def exact_draws(values, clusters, seed, resamples):
    """The resampled means in rational arithmetic, from the definition in docs/scoring.md."""
    units = {}
    for value, key in zip(values, clusters, strict=True):
        units.setdefault(key, []).append(Fraction(value))
    units = list(units.values())
    generator = np.random.PCG64(seed)
    means = []
    for _ in range(resamples):
        words = [int(generator.random_raw()) for _ in range((len(units) + 1) // 2)]
        halves = [half for word in words for half in (word & 0xFFFFFFFF, word >> 32)]
        drawn = [units[half * len(units) >> 32] for half in halves[: len(units)]]
        means.append(sum(sum(unit) for unit in drawn) / sum(len(unit) for unit in drawn))
    return means, len(units)


def exact_interval(values, clusters, seed, resamples, level):
    means, units = exact_draws(values, clusters, seed, resamples)
    stretch = math.sqrt(units / (units - 1))
    tail = stats.norm.cdf(stretch * stats.t.ppf((1 - level) / 2, units - 1))
    outside = max(math.floor(tail * (resamples + 1)), 1) - 1
    means.sort()
    return float(means[outside]), float(means[-1 - outside])


# Derandomised: where the two ways to Student's quantile fall on either side of a whole rank, ends differ by one draw.
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.sampled_from(GAINS.tolist()), st.integers(0, 25)), min_size=30, max_size=60),
    st.integers(0, 2**64 - 1),
    st.sampled_from([0.8, 0.95]),
    st.booleans(),
)
def test_intervals_agree_with_exact_arithmetic(cases, seed, level, clustered):
    values = [value for value, _ in cases]
    keys = [str(key if clustered else i) for i, (_, key) in enumerate(cases)]
    if len(set(keys)) < 9 or len(set(values)) == 1:
        return  # Student's quantile is an expansion that holds from eight degrees of freedom on
    found = compute_interval(np.array(values), keys, seed=seed, level=level, resamples=100)
    low, high = exact_interval(values, keys, seed, 100, level)
    assert found.mean == pytest.approx(float(sum(map(Fraction, values)) / len(values)), abs=1e-15)
    assert found.low == pytest.approx(min(low, found.mean), abs=1e-11)
    assert found.high == pytest.approx(max(high, found.mean), abs=1e-11)


class SameDraws(np.random.Generator):
    """A generator whose `integers` hands scipy the very draws that MRB makes."""

    def integers(self, low, high=None, size=None, **options):
        count = high if high is not None else low
        rows, columns = size
        halves = self.bit_generator.random_raw(rows * ((columns + 1) // 2)).view("<u4").reshape(rows, -1)
        return (halves[:, :columns].astype(np.int64) * count) >> 32


@pytest.mark.parametrize("queries", [50, 121, 400])
def test_percentiles_are_those_of_scipy_on_the_same_draws(queries):
    values = np.random.default_rng(queries).choice(GAINS, queries)
    # scipy's plain percentile at the level that the expanded one works out to.
    tail = stats.norm.cdf(math.sqrt(queries / (queries - 1)) * stats.t.ppf(0.025, queries - 1))
    reference = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, confidence_level=1 - 2 * tail, method="percentile", vectorized=True,
        rng=SameDraws(np.random.PCG64(5)),
    )  # fmt: skip
    found = compute_interval(values, seed=5)
    ranked = np.sort(reference.bootstrap_distribution)
    # scipy interpolates between two draws, MRB takes the outer one: at most one draw apart.
    for ours, theirs in zip((found.low, found.high), reference.confidence_interval, strict=True):
        place = np.searchsorted(ranked, ours - 1e-9)
        assert ranked[place] == pytest.approx(ours, abs=1e-9)
        assert ranked[max(place - 2, 0)] <= theirs <= ranked[min(place + 2, 1999)]


def clustered_task(rng, number, kind):
    """30 to 35 queries in about 14 clusters that differ in size and in how easy they are; every other task has none."""
    keys = rng.choice(14, 30 + number, p=np.arange(1, 15) / 105)
    values = rng.choice(GAINS, len(keys)) * keys / 14
    clusters = keys.astype(str).tolist() if number % 2 else None
    return TaskSample(f"task-{number}", kind, values[:, np.newaxis], clusters)


def squared_error(values, clusters):
    """The bootstrap's squared standard error of a ratio of sums, to first order, and its number of units."""
    off = values - values.mean()
    sums = [sum(off[i] for i, key in enumerate(clusters) if key == unit) for unit in set(clusters)]
    return sum(total**2 for total in sums) / len(values) ** 2, len(sums)


def test_averages_agree_with_their_tasks_draws():
    rng = np.random.default_rng(4)
    kinds = ["t2t", "t2t", "t2t", "i2t", "t2vd", "t2vd"]
    samples = [clustered_task(rng, number, kind) for number, kind in enumerate(kinds)]
    per_task, squared, units = [], [], []
    for sample in samples:
        values = sample.values[:, 0]
        clusters = sample.clusters or list(range(len(values)))
        seed = seed_of("mrb-bootstrap-v1", sample.task_id)
        assert seed == derive_task_seed(sample.task_id)
        per_task.append(np.array(exact_draws(values.tolist(), clusters, seed, 600)[0], dtype=float))
        error, count = squared_error(values, clusters)
        squared.append(error)
        units.append(count)
    by_kind = [[i for i, kind in enumerate(kinds) if kind == name] for name in dict.fromkeys(kinds)]
    weights = {
        "tasks": np.full(6, 1 / 6),
        "types": np.array([next(1 / len(by_kind) / len(g) for g in by_kind if i in g) for i in range(6)]),
    }
    found = compute_averages(samples, resamples=600)
    for name, ours in (("tasks", found.over_tasks[0]), ("types", found.over_types[0])):
        draws = np.sort(sum(w * d for w, d in zip(weights[name], per_task, strict=True)))
        biased = [w * w * v for w, v in zip(weights[name], squared, strict=True)]
        fair = [v * n / (n - 1) for v, n in zip(biased, units, strict=True)]
        freedom = sum(fair) ** 2 / sum(v * v / (n - 1) for v, n in zip(fair, units, strict=True))
        tail = stats.norm.cdf(math.sqrt(sum(fair) / sum(biased)) * stats.t.ppf(0.025, freedom))
        outside = math.floor(tail * 601) - 1
        assert ours.mean == pytest.approx(sum(w * s.values.mean() for w, s in zip(weights[name], samples, strict=True)))
        assert (ours.low, ours.high) == pytest.approx((draws[outside], draws[-1 - outside]), abs=1e-9)


def test_a_mean_over_parts_agrees_with_its_parts_draws():
    rng = np.random.default_rng(12)
    sizes = {"b": 9, "a": 40, "c": 17}
    parts = [name for name, size in sizes.items() for _ in range(size)]
    values = rng.choice(GAINS, len(parts)) * np.array([{"a": 0.2, "b": 1.0, "c": 0.6}[name] for name in parts])
    clusters = rng.integers(0, 30, len(parts)).astype(str).tolist()
    seed, per_part, fair, biased, units = derive_task_seed("cqadupstack"), [], [], [], []
    for name in sizes:
        own = [row for row, part in enumerate(parts) if part == name]
        keys = [clusters[row] for row in own]
        part_seed = seed_of("mrb-bootstrap-v1", seed, name)
        per_part.append(np.array(exact_draws(values[own].tolist(), keys, part_seed, 600)[0], dtype=float))
        error, count = squared_error(values[own], keys)
        biased.append(error / 9)
        fair.append(error / 9 * count / (count - 1))
        units.append(count)
    draws = np.sort(np.mean(per_part, axis=0))
    freedom = sum(fair) ** 2 / sum(v * v / (n - 1) for v, n in zip(fair, units, strict=True))
    tail = stats.norm.cdf(math.sqrt(sum(fair) / sum(biased)) * stats.t.ppf(0.025, freedom))
    outside = math.floor(tail * 601) - 1
    found = compute_interval(values, clusters, parts, seed=seed, resamples=600)
    expected = np.mean([values[[part == name for part in parts]].mean() for name in sizes])
    assert found.mean == pytest.approx(expected, abs=1e-15)
    assert abs(found.mean - values.mean()) > 0.05
    assert (found.low, found.high) == pytest.approx((draws[outside], draws[-1 - outside]), abs=1e-9)


@pytest.mark.parametrize("probability", [0.005, 0.025, 0.1, 0.5, 0.9, 0.975])
@pytest.mark.parametrize("freedom", [8, 12.5, 48, 199, 5e4])
def test_student_quantiles_are_those_of_scipy(probability, freedom):
    assert compute_student_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), abs=4e-4)


# Rates. Seeds are fixed, so these cannot fail by chance; their bounds are 95 % plus or minus what 300 runs leave open.


def one_positive(rng, shape, lost, first):
    """nDCG of one relevant document: 0 with chance `lost`, 1 with chance `first`, else at ranks 2 to 10."""
    rest = (1 - lost - first) / 9
    return rng.choice(GAINS, shape, p=[lost, first, *[rest] * 9])


def expected_one_positive(lost, first):
    return first + (1 - lost - first) / 9 * GAINS[2:].sum()


@pytest.mark.parametrize("queries", [50, 200])
@pytest.mark.parametrize(("lost", "first"), [(0.2, 0.45), (0.05, 0.75), (0.7, 0.08)])
def test_task_intervals_cover(queries, lost, first):
    rng = np.random.default_rng(11)
    truth = expected_one_positive(lost, first)
    found = [compute_interval(one_positive(rng, queries, lost, first), seed=run, resamples=1000) for run in range(300)]
    assert 0.92 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.98


def test_clustered_intervals_cover_where_plain_ones_do_not():
    rng = np.random.default_rng(12)
    covered = {"clustered": 0, "plain": 0}
    for run in range(300):
        sizes = rng.integers(1, 9, 40)
        ease = np.repeat(rng.beta(2, 1, 40), sizes)
        values = (rng.random(len(ease)) < ease).astype(float)
        keys = np.repeat(np.arange(40), sizes).astype(str).tolist()
        for name, clusters in (("clustered", keys), ("plain", None)):
            found = compute_interval(values, clusters, seed=run, resamples=1000)
            covered[name] += found.low <= 2 / 3 <= found.high
    assert 0.92 <= covered["clustered"] / 300 <= 0.98
    assert covered["plain"] / 300 < 0.90


def test_averages_cover():
    rng = np.random.default_rng(13)
    shapes = [(50, 0.2, 0.45), (60, 0.05, 0.75), (100, 0.7, 0.08), (150, 0.02, 0.88), (200, 0.2, 0.45)]
    kinds = ["t2t", "t2t", "t2t", "i2t", "t2vd"]
    means = [expected_one_positive(lost, first) for _, lost, first in shapes]
    truth = {"tasks": np.mean(means), "types": (np.mean(means[:3]) + means[3] + means[4]) / 3}
    covered = {"tasks": 0, "types": 0}
    for run in range(300):
        samples = [
            TaskSample(f"{run}-{i}", kind, one_positive(rng, (n, 1), lost, first))
            for i, (kind, (n, lost, first)) in enumerate(zip(kinds, shapes, strict=True))
        ]
        found = compute_averages(samples, resamples=1000)
        for name, one in (("tasks", found.over_tasks[0]), ("types", found.over_types[0])):
            covered[name] += one.low <= truth[name] <= one.high
    assert all(0.92 <= count / 300 <= 0.98 for count in covered.values()), covered
