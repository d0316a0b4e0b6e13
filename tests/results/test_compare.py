"""Comparing runs: what is counted, what is corrected, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mrb.errors import ResultError
from mrb.metrics.significance import RankBounds
from mrb.results.compare import Comparison, compare
from mrb.results.run import Run, load_run

MakeRun = Callable[..., Path]
TASKS = ("nfcorpus", "scifact", "nights")  # t2t, t2t, i2i
MEASURE = "nDCG@10"
VALUES = {task: np.random.default_rng(number).uniform(size=60) for number, task in enumerate(TASKS)}


@pytest.fixture
def base(make_run: MakeRun) -> Run:
    return load_run(make_run("base", suite=None, tasks=TASKS))


def other(run: Run, name: str, values: Mapping[str, np.ndarray], clusters: Sequence[int] | None = None) -> Run:
    """`run` under another name with these values per query."""
    tasks = {}
    for task, scores in run.tasks.items():
        if task in values:
            numbers = scores.clusters if clusters is None else np.asarray(clusters)
            tasks[task] = replace(scores, values={**scores.values, MEASURE: values[task]}, clusters=numbers)
    return Run(run.folder.with_name(name), run.record, tasks)


def shifted(gains: Mapping[str, float]) -> dict[str, np.ndarray]:
    return {task: VALUES[task] + gains.get(task, 0.0) for task in TASKS}


def two(base: Run, first: np.ndarray, second: np.ndarray, clusters: Sequence[int] | None = None) -> Comparison:
    """A comparison on one task with these values."""
    runs = [other(base, name, {"scifact": values}, clusters) for name, values in (("a", first), ("b", second))]
    return compare(runs, task_ids=["scifact"])


def test_queries_are_counted_and_the_largest_named(base: Run) -> None:
    first, second = np.full(60, 0.5), np.full(60, 0.5)
    second[[3, 7, 11]] = 0.6, 0.9, 0.7
    second[[20, 21]] = 0.4, 0.0
    second[30] += 1e-12  # arithmetic, not a difference of rankings
    second[40] += 1e-8  # a difference
    (task,) = two(base, first, second).tasks
    (found,) = task.differences
    assert (found.won, found.lost, found.tied) == (4, 2, 54)
    assert [(q.query_id, q.base, q.other) for q in found.wins] == [
        ("q7", 0.5, 0.9),
        ("q11", 0.5, 0.7),
        ("q3", 0.5, 0.6),
    ]
    assert [(q.query_id, q.other) for q in found.losses] == [("q21", 0.0), ("q20", 0.4)]
    assert found.mean.difference == pytest.approx((0.1 + 0.4 + 0.2 + 1e-7 - 0.1 - 0.5) / 60)
    assert found.mean.low < found.mean.difference < found.mean.high
    assert task.means == pytest.approx((0.5, 0.5 + 0.1 / 60))


def test_equal_gains_are_named_in_the_order_of_their_ids(base: Run) -> None:
    (task,) = two(base, np.zeros(60), np.ones(60)).tasks
    assert [query.query_id for query in task.differences[0].wins] == ["q0", "q1", "q10"]


def test_the_other_way_round_is_the_negative(base: Run) -> None:
    noise = np.random.default_rng(5).uniform(size=60)
    one, back = two(base, VALUES["scifact"], noise), two(base, noise, VALUES["scifact"])
    for mine, theirs in (
        (one.tasks[0].differences[0].mean, back.tasks[0].differences[0].mean),
        (one.over_tasks.differences[0], back.over_tasks.differences[0]),
    ):
        assert mine.difference == pytest.approx(-theirs.difference, abs=1e-12)
        assert (mine.low, mine.high) == pytest.approx((-theirs.high, -theirs.low), abs=1e-9)
        assert mine.p == theirs.p
    assert one.tasks[0].differences[0].won == back.tasks[0].differences[0].lost


def test_equal_runs_are_tied_everywhere(base: Run) -> None:
    found = compare([other(base, "a", VALUES), other(base, "b", VALUES)])
    assert all(task.differences[0].tied == 60 and task.differences[0].mean.p == 1.0 for task in found.tasks)
    for average in (found.over_tasks, found.over_types):
        assert average.differences[0].difference == 0.0
        assert average.ranks == (RankBounds(1, 2), RankBounds(1, 2))


def test_queries_of_one_cluster_count_as_one(base: Run) -> None:
    gain = np.repeat(np.random.default_rng(2).normal(0.05, 0.2, 6), 10)
    alone = two(base, np.full(60, 0.5), 0.5 + gain).tasks[0]
    shared = two(base, np.full(60, 0.5), 0.5 + gain, np.repeat(np.arange(6), 10).tolist()).tasks[0]
    assert (alone.units, shared.units) == (60, 6)
    mine, theirs = alone.differences[0].mean, shared.differences[0].mean
    assert mine.difference == pytest.approx(theirs.difference)
    assert theirs.high - theirs.low > 2 * (mine.high - mine.low)
    assert theirs.p > mine.p


def test_averages_over_tasks_and_over_types(base: Run) -> None:
    gains = {"nfcorpus": 0.03, "scifact": 0.06, "nights": -0.3}
    found = compare([other(base, "a", VALUES), other(base, "b", shifted(gains))])
    assert found.over_tasks.differences[0].difference == pytest.approx((0.03 + 0.06 - 0.3) / 3)
    assert found.over_types.differences[0].difference == pytest.approx(((0.03 + 0.06) / 2 - 0.3) / 2)
    assert found.over_types.means[0] == pytest.approx(
        ((VALUES["nfcorpus"].mean() + VALUES["scifact"].mean()) / 2 + VALUES["nights"].mean()) / 2
    )


def test_three_runs_are_corrected_and_grouped(base: Run) -> None:
    noise = np.random.default_rng(8).normal(0, 0.3, 60)
    near = {task: VALUES[task] + noise * (1 if task == "nights" else -1) for task in TASKS}
    far = shifted(dict.fromkeys(TASKS, 0.5))
    found = compare([other(base, "a", VALUES), other(base, "near", near), other(base, "far", far)])
    assert found.over_tasks.ranks == (RankBounds(2, 3), RankBounds(2, 3), RankBounds(1, 1))
    lines = [difference.mean for task in found.tasks for difference in task.differences]
    assert [line.run for line in lines[:2]] == ["near", "far"]
    assert all(line.p <= line.p_corrected <= 1.0 for line in lines)
    assert any(line.p < line.p_corrected for line in lines)


def test_the_same_runs_give_the_same_numbers(base: Run) -> None:
    runs = [other(base, "a", VALUES), other(base, "b", shifted({"nights": 0.01}))]
    assert compare(runs) == compare(runs)


def test_only_common_tasks_are_compared_and_the_rest_named(base: Run) -> None:
    part = other(base, "part", {task: VALUES[task] for task in ("nights", "scifact")})
    found = compare([other(base, "a", VALUES), part])
    assert [task.task for task in found.tasks] == ["scifact", "nights"]
    assert found.of == 3
    assert found.missing == {"part": ("nfcorpus",)}
    assert found.over_tasks.means[0] == pytest.approx((VALUES["nights"].mean() + VALUES["scifact"].mean()) / 2)
    with pytest.raises(ResultError, match="part: has no result for task nfcorpus"):
        compare([other(base, "a", VALUES), part], task_ids=["nfcorpus"])
    with pytest.raises(ResultError, match="no task is common"):
        compare([part, other(base, "rest", {"nfcorpus": VALUES["nfcorpus"]})])


@pytest.mark.parametrize(
    ("part", "change", "named"),
    [
        (None, {"task_hash": "0" * 64}, "task_hash"),
        ("data", {"revision": "f" * 40}, "data.revision"),
        ("data", {"selection": "sample"}, "data.selection"),
        ("candidates", {"sha256": "0" * 64}, "candidates.sha256"),
        ("candidates", {"depth": 10}, "candidates.depth"),
        ("counts", {"queries": 59}, "counts.queries"),
        ("data", {"qrels": "raw"}, "data.qrels"),
    ],
)
def test_what_is_not_comparable_is_refused_by_field(
    base: Run, part: str | None, change: dict[str, object], named: str
) -> None:
    scores = base.tasks["scifact"]
    inner = change if part is None else {part: getattr(scores.result, part).model_copy(update=change)}
    changed = replace(scores, result=scores.result.model_copy(update=inner))
    run = Run(base.folder.with_name("changed"), base.record, {**base.tasks, "scifact": changed})
    with pytest.raises(ResultError, match=f"task scifact: base and changed are not comparable: {named} is") as told:
        compare([base, run])
    hashes = {"task_hash": "the task's definition or data differ", "candidates.sha256": "the candidate lists differ"}
    assert f"({hashes.get(named)})" in str(told.value) or named not in hashes
    assert len(compare([base, run], task_ids=["nights"]).tasks) == 1


def test_other_queries_or_clusters_are_refused(base: Run) -> None:
    scores = base.tasks["nights"]
    for changed in (
        replace(scores, query_ids=("x", *scores.query_ids[1:])),
        replace(scores, clusters=np.zeros(60, np.int64)),
    ):
        run = Run(base.folder.with_name("changed"), base.record, {**base.tasks, "nights": changed})
        with pytest.raises(ResultError, match=r"task nights: .*their queries differ"):
            compare([base, run])


def test_names_measures_and_too_few_runs(base: Run) -> None:
    with pytest.raises(ResultError, match="at least two runs"):
        compare([base])
    with pytest.raises(ResultError, match="the same run is given twice"):
        compare([base, base])
    twin = Run(base.folder.parent / "elsewhere" / "base", base.record, base.tasks)
    assert compare([base, twin]).runs == (str(base.folder), str(twin.folder))
    with pytest.raises(ResultError, match=r"base has no nDCG@7; it has nDCG@5"):
        compare([base, twin], measure="nDCG@7")
