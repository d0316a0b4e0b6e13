import math

import numpy as np
import pytest

import mrb.metrics.resampling
import mrb.metrics.statistics
from mrb.metrics.significance import PairedTests
from mrb.metrics.statistics import (
    MeanInterval,
    TaskSample,
    compute_averages,
    compute_interval,
    compute_intervals,
    compute_student_quantile,
    derive_task_seed,
)


def task(name, values, kind="t2t", clusters=None):
    return TaskSample(name, kind, np.asarray(values, dtype=float), clusters)


def column(*values):
    return np.array(values, dtype=float)[:, np.newaxis]


def some_values(queries=120, columns=1, seed=0):
    return np.random.default_rng(seed).random((queries, columns))


def test_an_interval_has_the_plain_mean_inside():
    values = some_values()[:, 0]
    found = compute_interval(values, seed=1)
    assert found.mean == math.fsum(values) / len(values)
    assert 0 < found.low < found.mean < found.high < 1


def test_the_same_call_gives_the_same_bits_and_another_seed_does_not():
    values = some_values()[:, 0]
    assert compute_interval(values, seed=1) == compute_interval(values, seed=1)
    assert compute_interval(values, seed=1) != compute_interval(values, seed=2)


def test_intervals_are_pinned():
    # Computed outside MRB from the definition in docs/scoring.md; a change here changes every published interval.
    seed, values, clusters = derive_task_seed("nfcorpus"), np.arange(40) % 7 / 8, [str(i // 3) for i in range(40)]
    assert seed == 11370588294698679165
    assert compute_interval(values, seed=seed) == MeanInterval(0.359375, 0.275, 0.440625)
    assert compute_interval(values, clusters, seed=seed) == MeanInterval(
        0.359375, 0.27380952380952384, 0.4440789473684211
    )


@pytest.mark.parametrize("block", [1, 999, 2**24])
def test_block_size_changes_no_bit(monkeypatch, block):
    values, clusters = some_values(101, 3), [str(i % 37) for i in range(101)]
    samples = [task("a", values, clusters=clusters)]

    def everything():
        return compute_intervals(values, clusters, seed=5), PairedTests(samples).test_average("tasks")

    usual = everything()
    monkeypatch.setattr(mrb.metrics.resampling, "BLOCK", block)
    assert everything() == usual


def test_adding_up_in_another_order_changes_no_bit(monkeypatch):
    # What a matrix library with other blocking or fused operations does: the same terms in another order.
    values = some_values(500, 2)
    usual = compute_intervals(values, seed=5)
    real = mrb.metrics.statistics.draw_bootstrap_counts

    class Backwards(np.ndarray):
        def __matmul__(self, table):
            return np.asarray(self)[:, ::-1] @ np.asarray(table)[::-1]

    monkeypatch.setattr(
        mrb.metrics.statistics, "draw_bootstrap_counts", lambda *a: (block.view(Backwards) for block in real(*a))
    )
    assert compute_intervals(values, seed=5) == usual


def test_columns_together_are_columns_alone():
    values = some_values(80, 4)
    together = compute_intervals(values, seed=3)
    assert all(
        one.mean == other.mean
        and one.low == pytest.approx(other.low, abs=1e-12)
        and one.high == pytest.approx(other.high, abs=1e-12)
        for one, other in zip(together, (compute_interval(v, seed=3) for v in values.T), strict=True)
    )


def test_one_query_a_cluster_is_no_clustering():
    values = some_values()[:, 0]
    assert compute_interval(values, [f"q{i}" for i in range(len(values))], seed=3) == compute_interval(values, seed=3)


def test_repeated_values_in_clusters_count_once():
    # Thirty values, each five times: the clusters say so, and the interval is that of the thirty.
    few = some_values(30)[:, 0]
    many, clusters = np.repeat(few, 5), [str(i // 5) for i in range(150)]
    clustered, naive, honest = (
        compute_interval(many, clusters, seed=3),
        compute_interval(many, seed=3),
        compute_interval(few, seed=3),
    )
    assert clustered.low == pytest.approx(honest.low, abs=1e-12)
    assert clustered.high == pytest.approx(honest.high, abs=1e-12)
    assert naive.high - naive.low < 0.6 * (honest.high - honest.low)


def test_cluster_keys_are_compared_whole():
    keys = ["a", "a\0", "b", "b\0"] * 10
    assert compute_interval(some_values(40)[:, 0], keys, seed=1) == compute_interval(
        some_values(40)[:, 0], ["a", "c", "b", "d"] * 10, seed=1
    )


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("clusters", [None, ["a", "a", "b"] * 10])
def test_without_spread_the_interval_is_the_mean(value, clusters):
    found = compute_interval(np.full(30, value), clusters, seed=1)
    assert found.low == found.mean == found.high == pytest.approx(value)


@pytest.mark.parametrize(("values", "clusters"), [([0.25], None), ([0.0, 1.0], ["a", "a"])])
def test_one_unit_shows_no_spread(values, clusters):
    mean = sum(values) / len(values)
    assert compute_interval(np.array(values), clusters, seed=1) == MeanInterval(mean, mean, mean)


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_mean_is_inside_even_if_the_median_of_the_draws_is_elsewhere(sign):
    values = sign * np.exp(np.random.default_rng(0).normal(0, 2, 20))
    assert all((i := compute_interval(values, seed=seed, level=0.02)).low <= i.mean <= i.high for seed in range(20))


def test_two_units_reach_from_one_to_the_other():
    assert compute_interval(np.array([0.0, 1.0]), seed=1) == MeanInterval(0.5, 0.0, 1.0)


@pytest.mark.parametrize(
    ("values", "clusters", "message"),
    [
        ([], None, "shape"),
        ([0.5, np.nan], None, "finite"),
        ([0.5, np.inf], None, "finite"),
        ([0.5], ["a", "b"], "2 cl"),
    ],
)
def test_bad_values_are_refused(values, clusters, message):
    with pytest.raises(ValueError, match=message):
        compute_interval(np.array(values), clusters, seed=1)


def test_an_average_of_one_task_is_that_task():
    values = some_values(60, 2)
    found = compute_averages([task("nfcorpus", values)])
    assert found.over_tasks == found.over_types == compute_intervals(values, seed=derive_task_seed("nfcorpus"))


def test_the_two_averages_weigh_tasks_and_types():
    samples = [
        task("a", column(0.0, 0.2), "t2t"),
        task("b", column(*[0.3] * 50), "t2t"),
        task("c", column(0.8), "i2t"),
    ]
    found = compute_averages(samples)
    assert found.over_tasks[0].mean == pytest.approx((0.1 + 0.3 + 0.8) / 3)
    assert found.over_types[0].mean == pytest.approx(((0.1 + 0.3) / 2 + 0.8) / 2)


def test_the_order_of_tasks_changes_no_bit():
    samples = [task(f"task-{i}", some_values(20 + i, seed=i), f"type-{i % 3}") for i in range(9)]
    assert compute_averages(samples) == compute_averages(samples[::-1])


def test_an_average_of_ones_is_one():
    found = compute_averages([task(f"task-{i}", np.ones((10, 1)), f"type-{i % 7}") for i in range(40)])
    assert found.over_tasks == found.over_types == (MeanInterval(1.0, 1.0, 1.0),)


def test_an_average_is_as_wide_as_its_tasks_say():
    # Independent tasks of one spread: the interval of the mean of sixteen is a quarter of one task's.
    samples = [task(f"task-{i}", some_values(150, seed=i)) for i in range(16)]
    single = np.mean([i.high - i.low for s in samples for i in compute_averages([s]).over_tasks])
    both = compute_averages(samples).over_tasks[0]
    assert both.high - both.low == pytest.approx(single / 4, rel=0.08)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "no tasks"),
        ([task("a", column(1)), task("a", column(0))], "task a occurs twice"),
        ([task("a", column(1)), task("b", [[1, 2]])], "different columns"),
    ],
)
def test_bad_averages_are_refused(samples, message):
    with pytest.raises(ValueError, match=message):
        compute_averages(samples)


def test_student_quantiles_of_the_table():
    table = {(0.975, 10): 2.2281, (0.975, 30): 2.0423, (0.025, 48): -2.0106, (0.995, 20): 2.8453}
    assert all(compute_student_quantile(p, df) == pytest.approx(t, abs=1e-4) for (p, df), t in table.items())


def test_the_inputs_are_left_as_they_were():
    values = some_values(30, 2)
    before = values.copy()
    compute_intervals(values, seed=1)
    PairedTests([task("a", values)]).test_average("tasks")
    assert np.array_equal(values, before)


def test_equal_values_in_unequal_clusters_have_no_spread():
    found = compute_interval(np.full(7, 0.1), [str(i % 3) for i in range(7)], seed=1)
    assert (found.low, found.high) == (found.mean, found.mean)
    assert found.mean == pytest.approx(0.1)
