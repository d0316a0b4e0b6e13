"""The significance procedure against an enumeration of all signs, against scipy, and its rates on simulated runs."""

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrb.metrics.significance import ALPHA, Difference, PairedTests, RankBounds, bound_ranks
from mrb.metrics.statistics import TaskSample

GAINS = np.concatenate(([0.0], 1 / np.log2(np.arange(2, 12))))
FEW = 0.021
"""Four standard errors of a p value from 9,999 flips, at most."""


def sample(differences, name="t", kind="t2t", clusters=None, parts=None):
    differences = np.asarray(differences, dtype=float)
    return TaskSample(name, kind, np.column_stack((np.zeros(len(differences)), differences)), clusters, parts)


def one_test(*samples, average="tasks"):
    return PairedTests(samples).test_average(average)[0, 1]


def residuals(tasks, zero):
    """The distance of an average over tasks from `zero`, shortened where the long tail is there, and the units'
    deviations at that distance; by the definition in docs/scoring.md. `tasks` are lists of clusters of values."""
    count, means, own, variances = len(tasks), [], [], []
    for task in tasks:
        queries = sum(map(len, task))
        mean = sum(map(sum, task)) / queries
        widen = math.sqrt((len(task) - 1 / count) / (len(task) - 1)) / count
        own.append([widen * (sum(unit) - len(unit) * mean) / queries for unit in task])
        variances.append(sum(one**2 for one in own[-1]))
        means.append(mean / count)
    skew = sum(one**3 for task in own for one in task) / sum(variances) ** 1.5
    against = max(0.0, -skew * math.copysign(1, sum(means) - zero))
    move = (sum(means) - zero) / (1 + against * (2 * 1.959964**2 + 1) / (6 * 1.959964))
    found = [
        one + move * variance / sum(variances) * len(unit) / sum(map(len, task))
        for task, of_task, variance in zip(tasks, own, variances, strict=True)
        for one, unit in zip(of_task, task, strict=True)
    ]
    return move, np.array(found)


def enumerated_p(tasks, zero):
    """The share of all sign choices whose sum is as extreme as the difference is, if the truth were `zero`."""
    distance, units = residuals(tasks, zero)
    sums = np.abs(np.array(list(product((1, -1), repeat=len(units)))) @ units)
    return float(np.mean(sums >= abs(distance) * (1 - 1e-9)))


def some_tasks(seed):
    """Two or three tasks of 4 to 6 clusters of 1 to 3 values, with a gain."""
    rng = np.random.default_rng(seed)
    return [
        [(rng.normal(0.1, 0.25, rng.integers(1, 4))).tolist() for _ in range(rng.integers(4, 7))]
        for _ in range(2 + seed % 2)
    ]


def as_samples(tasks):
    return [
        sample(
            [value for unit in task for value in unit], f"t{k}", "t2t",
            [str(number) for number, unit in enumerate(task) for _ in unit],
        )
        for k, task in enumerate(tasks)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_p_values_and_intervals_are_those_of_all_signs(seed):
    tasks = some_tasks(seed)
    found = one_test(*as_samples(tasks))
    assert found.difference == pytest.approx(np.mean([np.mean([v for unit in task for v in unit]) for task in tasks]))
    assert found.p == pytest.approx(enumerated_p(tasks, 0.0), abs=FEW)
    width = found.high - found.low
    for inside, outside in ((found.low, -1), (found.high, 1)):
        assert enumerated_p(tasks, inside - outside * 0.05 * width) > ALPHA - 0.005
        assert enumerated_p(tasks, inside + outside * 0.05 * width) < ALPHA + 0.005


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(-64, 64), min_size=1, max_size=12))
def test_one_task_is_scipys_permutation_test_unless_the_long_tail_is_at_zero(differences):
    from scipy import stats  # takes a second, in every process that collects this file

    found = one_test(sample(np.array(differences) / 64))
    if any(differences) and len(differences) > 1:
        reference = stats.permutation_test(
            (differences,), np.sum, permutation_type="samples", vectorized=False, n_resamples=np.inf
        ).pvalue
        towards_zero = len(set(differences)) > 1 and stats.skew(differences) * sum(differences) < 0
        assert found.p > min(1.0, reference) - FEW
        assert towards_zero or found.p < min(1.0, reference) + FEW
    else:
        assert found.p == 1.0


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from([-1, -0.5, -0.1, 0, 0, 0.1, 1 / 3, 1]), st.integers(0, 6)), min_size=1,
                 max_size=14),
        min_size=1, max_size=4,
    ),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_the_interval_excludes_zero_exactly_where_p_is_below_5_percent(tasks, clustered, parted):
    samples = [
        sample(
            [value for value, _ in task], f"t{k}", f"type {k % 2}",
            [str(key) for _, key in task] if clustered else None,
            [f"p{row % 2}" for row in range(len(task))] if parted else None,
        )
        for k, task in enumerate(tasks)
    ]  # fmt: skip
    tests = PairedTests(samples)
    found = [tests.test_average("tasks")[0, 1], tests.test_average("types")[0, 1], *tests.test_tasks((0, 1)).values()]
    for one in found:
        assert -1 <= one.low <= one.difference <= one.high <= 1
        assert (one.low > 0 or one.high < 0) == (one.p < ALPHA)
        assert 1e-4 <= one.p <= one.p_corrected <= 1


def test_a_group_is_tested_as_if_there_were_no_other_tasks():
    rng = np.random.default_rng(8)
    tasks = [sample(rng.normal(0.02 * n, 0.1, 30), name=f"{n}", kind="ab"[n // 3]) for n in range(5)]
    tests = PairedTests(tasks, groups={"own": ("types", {"0", "1", "4"}), "3": ("tasks", ["3"])})
    assert tests.test_average("own") == PairedTests([tasks[0], tasks[1], tasks[4]]).test_average("types")
    assert tests.test_average("3")[0, 1].p == tests.test_tasks((0, 1))["3"].p
    assert tests.test_average("types") == PairedTests(tasks).test_average("types")


def test_the_numbers_are_pinned():
    # A change here changes published p values, intervals and ranks.
    rng = np.random.default_rng(0)
    samples = [
        TaskSample("a", "t2t", rng.choice(GAINS, (40, 3))),
        TaskSample("b", "i2t", rng.choice(GAINS, (30, 3)) * [1, 1, 0.6], [str(i // 3) for i in range(30)]),
        TaskSample("c", "i2t", rng.choice(GAINS, (12, 3)), None, ["x"] * 4 + ["y"] * 8),
    ]
    found = PairedTests(samples).test_average("types")
    assert {pair: (one.p, one.p_corrected) for pair, one in found.items()} == {
        (0, 1): (0.8839, 0.8839),
        (0, 2): (0.0217, 0.0523),
        (1, 2): (0.0796, 0.1345),
    }
    assert (found[0, 2].low, found[0, 2].high) == pytest.approx((-0.1317747190532726, -0.01134098330729489), abs=1e-12)


def test_a_large_sample_has_the_p_value_and_interval_of_student():
    from scipy import stats

    rng = np.random.default_rng(9)
    values = np.clip(rng.random((3000, 1)) * 0.5 + rng.normal(0, 0.1, (3000, 3)) + [0.2, 0.203, 0.206], 0, 1)
    for (i, j), found in PairedTests([TaskSample("a", "t2t", values)]).test_average("tasks").items():
        reference = stats.ttest_rel(values[:, j], values[:, i])
        assert found.p == pytest.approx(reference.pvalue, abs=0.02)
        ends = reference.confidence_interval(0.95)
        width = ends.high - ends.low
        assert (found.low, found.high) == pytest.approx((ends.low, ends.high), abs=0.04 * width)


def test_signed_ranks_through_the_same_test_are_wilcoxons():
    from scipy import stats

    difference = np.random.default_rng(7).normal(0.4, 1, 12)
    signed = np.sign(difference) * stats.rankdata(np.abs(difference)) / 12
    assert one_test(sample(signed)).p == pytest.approx(stats.wilcoxon(difference, method="exact").pvalue, abs=0.01)


def test_the_correction_is_westfall_and_youngs_step_down():
    # All 2^11 sign choices of one task, by the definition; the procedure takes 9,999 random ones.
    values = np.random.default_rng(5).random((11, 4)) / 4 + [0.0, 0.02, 0.3, 0.31]
    signs = np.array(list(product((1, -1), repeat=11)))
    sizes, flips = {}, {}
    for i, j in combinations(range(4), 2):
        distance, units = residuals([[[v] for v in values[:, j] - values[:, i]]], 0.0)
        sums = np.abs(signs @ units)
        spread = math.sqrt(np.mean(sums**2))
        sizes[i, j], flips[i, j] = abs(distance) / spread, sums / spread
    found = PairedTests([TaskSample("t", "t2t", values)]).test_average("tasks")
    highest = 0.0
    remaining = sorted(sizes, key=lambda pair: -sizes[pair])
    for place, pair in enumerate(remaining):
        largest = np.max([flips[other] for other in remaining[place:]], axis=0)
        highest = max(highest, float(np.mean(largest >= sizes[pair] * (1 - 1e-9))))
        assert found[pair].p_corrected == pytest.approx(highest, abs=FEW), pair


# Rates. Seeds are fixed, so these cannot fail by chance. benchmarks/significance.py has more of them, and more runs.


def alike(rng, queries, models, keep=0.6):
    law = [0.2, 0.45, *[0.35 / 9] * 9]
    shared = rng.choice(GAINS, (queries, 1), p=law)
    return np.where(rng.random((queries, models)) < keep, shared, rng.choice(GAINS, (queries, models), p=law))


@pytest.mark.slow
def test_alike_models_seldom_get_different_ranks_and_a_worse_one_does():
    rng = np.random.default_rng(14)
    split, found, raw = 0, 0, 0
    for run in range(100):
        samples = []
        for number, queries in enumerate((60, 120)):
            values = alike(rng, queries, 6)
            values[:, 5] *= 0.65
            samples.append(TaskSample(f"{run}-{number}", "t2t", values))
        tests = PairedTests(samples).test_average("tasks")
        ranks = bound_ranks(6, tests)
        split += any(bounds != RankBounds(1, 5) for bounds in ranks[:5]) and ranks[5] == RankBounds(6, 6)
        found += ranks[5] == RankBounds(6, 6)
        raw += tests[0, 1].p < ALPHA
    assert split <= 10 and found >= 90 and 1 <= raw <= 11, (split, found, raw)


def test_few_queries_that_all_win_are_found_and_the_interval_covers():
    rng = np.random.default_rng(3)
    tests = []
    for run in range(200):
        gains = (rng.random(200) < 0.05) * rng.choice([0.13, 0.37, 0.5, 0.63], 200)
        tests.append(one_test(sample(gains, f"{run}")))
    assert np.mean([one.p < ALPHA for one in tests]) > 0.85
    assert np.mean([one.low <= 0.05 * 0.4075 <= one.high for one in tests]) > 0.91


@pytest.mark.slow
def test_tasks_with_opposite_effects_keep_the_level_and_the_power():
    rng = np.random.default_rng(4)
    level, power = 0, 0
    for run in range(150):
        effects = [rng.normal(effect, 0.2, 60) for effect in (0.15, -0.15, 0.15, -0.15)]
        level += one_test(*(sample(own, f"{run}-{k}") for k, own in enumerate(effects))).p < ALPHA
        power += one_test(*(sample(own + 0.04, f"{run}-{k}") for k, own in enumerate(effects))).p < ALPHA
    assert level <= 14 and power >= 120, (level, power)


def test_ranks_count_the_models_that_are_significantly_better_and_worse():
    def test(difference, p):
        return Difference(difference, 0.0, 0.0, p, p)

    # a chain: the ends are apart, neighbours are not
    pairs = {(0, 1): test(-0.1, 0.2), (0, 2): test(-0.2, 0.01), (1, 2): test(-0.1, 0.2)}
    assert bound_ranks(3, pairs) == (RankBounds(1, 2), RankBounds(1, 3), RankBounds(2, 3))
    assert bound_ranks(3, pairs | {(0, 2): test(-0.2, 0.05)}) == (RankBounds(1, 3),) * 3
    assert [str(one) for one in bound_ranks(2, {(0, 1): test(0.1, 0.001)})] == ["2", "1"]
    assert bound_ranks(1, {}) == (RankBounds(1, 1),)
