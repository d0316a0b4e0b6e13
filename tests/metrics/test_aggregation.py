"""A task whose score is the mean over its parts: every number of it is, in every place that makes one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mrb.data.task import Task, load_task
from mrb.data.task_data import TaskData, find_query_parts
from mrb.errors import DataError, ResultError
from mrb.evaluation.check.noise_run import measure_noise
from mrb.evaluation.check.probe import Probe
from mrb.evaluation.measure import measure
from mrb.evaluation.plan import Plan, make_plan
from mrb.leaderboard.tables.rows import Table
from mrb.leaderboard.tables.table_grouping import group_runs as list_tables
from mrb.metrics import statistics as stats
from mrb.metrics.aggregation import average_queries
from mrb.rerankers.declaration import read_declarations
from mrb.rerankers.plugins import Adapter
from mrb.results.compare import compare
from mrb.results.run import Run, average_over_tasks, load_run
from mrb.results.schema import RerankerInfo
from mrb.results.table import format_run
from mrb.retrieval.candidate_stats import measure_quality
from tests.builders.toy import toy_candidates, toy_data, toy_task

Make = Callable[..., Any]
FORUMS = load_task("cqadupstack")
UNEQUAL = ("android", "android", "android", "android", "tex", "tex", "unix")
MEASURE = "nDCG@10"


def test_queries_weigh_so_that_parts_count_alike() -> None:
    values = np.array([1, 1, 1, 1, 0.5, 0.5, 0.0])
    assert average_queries(values, UNEQUAL) == pytest.approx(0.5)
    assert values.mean() == pytest.approx(5 / 7)
    assert average_queries(np.column_stack((values, 1 - values)), UNEQUAL) == pytest.approx([0.5, 0.5])
    assert float(average_queries(np.ones(7), UNEQUAL)) == 1.0
    assert average_queries(values, None) == pytest.approx(5 / 7)


def test_only_a_task_whose_rules_say_so_has_parts() -> None:
    assert find_query_parts(load_task("nfcorpus"), ["a/1", "b/2"]) is None
    assert find_query_parts(FORUMS, ["android/1", "unix/2/3"]) == ("android", "unix")
    with pytest.raises(DataError, match=r"task cqadupstack: query 'nosuch/1' belongs to none of its 12 parts"):
        find_query_parts(FORUMS, ["android/1", "nosuch/1"])


def test_each_part_is_resampled_within_itself() -> None:
    apart = np.array([1, 1, 1, 1, 0.5, 0.5, 0.0])
    found = stats.compute_interval(apart, None, UNEQUAL, seed=1)
    assert found == stats.MeanInterval(0.5, 0.5, 0.5), "nothing varies inside a part"
    mixed = stats.compute_interval(apart, seed=1)
    assert mixed.low < mixed.mean < mixed.high
    with pytest.raises(ValueError, match="6 parts for 7 values"):
        stats.compute_interval(apart, None, UNEQUAL[:6], seed=1)


def test_a_cluster_ends_with_its_part() -> None:
    sample = stats.TaskSample("t", "t2t", np.zeros((7, 1)), ["x"] * 7, UNEQUAL)
    assert (sample.units, replace(sample, parts=None).units, replace(sample, clusters=None).units) == (3, 1, 7)


@pytest.fixture(scope="module")
def forums() -> Task:
    """A task of two parts whose score is their mean."""
    part = {
        "content": "0" * 64,
        **{role: {"config": role, "split": "test"} for role in ("corpus", "queries", "qrels")},
    }
    source = {
        "kind": "embedded",
        "schema_family": "beir",
        "format": "parquet",
        "parts": [{**part, "name": name, "repository": name} for name in ("big", "small")],
    }
    task: Task = toy_task(source=source, rules={"average_over_parts": True})
    return task


@pytest.fixture(scope="module")
def data(forums: Task) -> TaskData:
    """Six queries of `big`, two of `small`; each has its own positive, which is found at rank 1 in `big` only."""
    queries = {f"big/q{n}": f"words {n}" for n in range(6)} | {f"small/q{n}": f"words {n}" for n in range(2)}
    corpus = {f"{part}/d{n}": f"words {n}" for part in ("big", "small") for n in range(12)}
    found: TaskData = toy_data(queries, corpus, {q: {q.replace("/q", "/d"): 1} for q in queries}, forums)
    return found


@pytest.fixture(scope="module")
def plan(data: TaskData, forums: Task) -> Plan:
    def ranked(query_id: str) -> list[str]:
        part, _, number = query_id.partition("/q")
        others = [f"{part}/d{n}" for n in range(12) if n != int(number)]
        positive = f"{part}/d{number}"
        return [positive, *others] if part == "big" else [*others[:2], positive, *others[2:]]

    lists = toy_candidates({query_id: ranked(query_id) for query_id in data.queries}, 12, forums)
    return make_plan(data, lists, 12)


def test_a_result_is_the_mean_over_parts(plan: Plan) -> None:
    info = RerankerInfo(
        name="toy", kind="pointwise", inputs=("text",), version="", uses_first_stage=False, batch_invariant=True,
        options={}, source="toy", source_sha256=None,
    )  # fmt: skip
    scores = {q: np.arange(12, 0, -1).astype(np.float32) for q in plan.query_ids}  # the first stage's order
    measured = measure(plan, scores, info)
    result = measured.result
    assert result.measures[MEASURE].mean == pytest.approx((1 + 0.5) / 2)
    assert measured.per_query.column(MEASURE).to_numpy().mean() == pytest.approx((6 + 2 * 0.5) / 8)
    assert result.first_stage[MEASURE].mean == pytest.approx(0.75)
    assert result.oracle[MEASURE].mean == 1.0
    assert result.depths["12"][MEASURE] == pytest.approx(0.75) == result.depths["10"][MEASURE]
    assert result.measures["HitRate@1"].mean == pytest.approx(0.5)


def test_a_lists_quality_is_the_mean_over_parts(plan: Plan, data: TaskData) -> None:
    found = measure_quality(plan.candidates, data, 12)
    assert (found.ndcg, found.oracle, found.recall) == pytest.approx((0.75, 1.0, 1.0))
    assert measure_quality(plan.candidates, data, 2).recall == pytest.approx(0.5)


def test_noise_is_measured_by_the_mean_over_parts(plan: Plan) -> None:
    class Same:
        """The positive of a query shares its last word; in `small` that is not told."""

        def score(self, request: Any) -> list[float]:
            return [float(c.text == request.query.text) for c in request.candidates]

    record = measure_noise(lambda: read_declarations(Adapter("same", Same(), {}, "test", None)), Probe((plan,), {}))
    assert record.tasks["toy"].first == 1.0


@pytest.fixture
def base(make_run: Make) -> Run:
    return load_run(make_run("base", suite=None, tasks=["cqadupstack", "nfcorpus"]))


def with_values(run: Run, name: str, values: np.ndarray) -> Run:
    """`run` under another name, `values` per query of the forums."""
    scores = run.tasks["cqadupstack"]
    changed = replace(scores, values={**scores.values, MEASURE: values})
    return Run(run.folder.with_name(name), run.record, {**run.tasks, "cqadupstack": changed})


def test_a_run_is_read_and_averaged_over_parts(base: Run) -> None:
    scores = base.tasks["cqadupstack"]
    values, parts = scores.values[MEASURE], scores.parts
    assert parts is not None and len(set(parts)) == 4
    own = scores.result.measures[MEASURE].mean
    assert own == pytest.approx(np.mean([values[[p == name for p in parts]].mean() for name in set(parts)]))
    assert abs(own - values.mean()) > 0.01
    only = average_over_tasks(base, ["cqadupstack"], MEASURE)
    expected = stats.compute_interval(
        values, [str(n) for n in range(60)], parts, seed=stats.derive_task_seed("cqadupstack")
    )
    assert only.interval is not None and only.mean == pytest.approx(expected.mean)
    assert (only.interval.low, only.interval.high) == (expected.low, expected.high)
    both = average_over_tasks(base, ["cqadupstack", "nfcorpus"], MEASURE)
    other = base.tasks["nfcorpus"].result.measures[MEASURE].mean
    assert both.interval is not None and both.interval.mean == pytest.approx((own + other) / 2)
    assert f"{100 * own:.2f}" in format_run(base)


def test_a_plain_mean_in_the_result_is_refused(base: Run) -> None:
    folder = base.folder / "cqadupstack"
    result = json.loads((folder / "result.json").read_text())
    values = pq.read_table(folder / "per_query.parquet").column(MEASURE).to_numpy()
    result["measures"][MEASURE] = dict.fromkeys(("mean", "low", "high"), float(values.mean()))
    (folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(ResultError, match="does not average to what"):
        load_run(base.folder)


def test_runs_are_compared_over_parts(base: Run) -> None:
    scores = base.tasks["cqadupstack"]
    parts = scores.parts
    assert parts is not None
    rare = min(set(parts), key=parts.count)
    # Wins everywhere but in the smallest forum, and by more queries than it loses.
    gains = np.array([-0.4 if part == rare else 0.1 for part in parts])
    runs = [with_values(base, "a", np.full(60, 0.5)), with_values(base, "b", 0.5 + gains)]
    (task,) = compare(runs, task_ids=["cqadupstack"]).tasks
    found = task.differences[0]
    assert found.won > found.lost == parts.count(rare)
    expected = (3 * 0.1 - 0.4) / 4
    assert gains.mean() > 0 > expected
    assert found.mean.difference == pytest.approx(expected)
    assert (found.mean.low, found.mean.high) == pytest.approx((expected, expected)), "no spread inside a forum"
    assert task.means == pytest.approx((0.5, 0.5 + expected))
    assert found.mean.p < 0.05
    both = compare(runs)
    assert both.over_tasks.differences[0].difference == pytest.approx(expected / 2)
    assert both.over_tasks.means == pytest.approx(
        tuple((mean + base.tasks["nfcorpus"].values[MEASURE].mean()) / 2 for mean in task.means)
    )


def test_the_board_averages_over_parts(make_run: Make) -> None:
    folder: Path = make_run("whole", suite="mrb", queries=40, depth=100)
    run = load_run(folder)
    (comparison,) = list_tables([run])
    row = Table(comparison).compute_view(MEASURE).rows[0]
    means = [scores.result.measures[MEASURE].mean for scores in run.tasks.values()]
    plain = [float(scores.values[MEASURE].mean()) for scores in run.tasks.values()]
    assert row.cells["tasks"].mean == pytest.approx(np.mean(means))
    assert abs(np.mean(means) - np.mean(plain)) > 1e-4
    cell = row.cells["tasks"]
    assert cell.low is not None and cell.high is not None and cell.low < np.mean(means) < cell.high
    assert row.cells["cqadupstack"].mean == run.tasks["cqadupstack"].result.measures[MEASURE].mean
