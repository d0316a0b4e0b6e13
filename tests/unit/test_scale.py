"""`mrb plan`: costs by hand, the simulation by hand, and the closed form held to the simulation."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrb.data.task import TYPES, load_task
from mrb.errors import MRBError, ResultError
from mrb.evaluation.registry_estimate import Registered, registered
from mrb.evaluation.selection import select
from mrb.parallel.work_queue import AT_ONCE
from mrb.rerankers.declaration import declared
from mrb.rerankers.plugins import Adapter
from mrb.results.schema import RunRecord, TaskTiming, write_run
from mrb.scale.assumed import load_assumed
from mrb.scale.cost import Cost, Costs, by_arithmetic, cost_of, given, of_run
from mrb.scale.estimate import best, compared, estimate, pulled_seconds
from mrb.scale.report import Asked, enough, points, record
from mrb.scale.simulate import Job, drawn, simulate
from mrb.scale.work import Cluster, Way, Work, pictures_seen, ways, works

ONE_RUN = Way(1, 2, cluster=False)


def made(task_id: str, queries: int, cost: Cost, depth: int = 100, gigabytes: float | None = None) -> Work:
    """A task of the registry with other numbers."""
    return Work(Registered(load_task(task_id), queries, queries * depth, gigabytes), cost)


def jobs(*costs: list[float], gigabytes: float = 0.0, **seconds: float) -> list[Job]:
    """Jobs of these seconds a query; `read`, `opened` and `finish` are 0 unless given."""
    names = ("scifact", "nq", "fiqa")
    found = [
        made(name, max(1, len(own)), Cost(0.0), gigabytes=gigabytes) for name, own in zip(names, costs, strict=False)
    ]
    rest = {"read": 0.0, "opened": 0.0, "finish": 0.0, **seconds}
    return [Job(work, np.array(own), **rest) for work, own in zip(found, costs, strict=True)]


def took(run: list[Job], cluster: Cluster, way: Way = ONE_RUN, **options: Any) -> float:
    return simulate(run, cluster, way, np.random.default_rng(0), **options)


def suite(costs: Costs, **options: Any) -> list[Work]:
    selection = select(options.get("suite_id", "mrb-lite"), (), (), None)
    return works(registered(selection.tasks, selection, options.get("limit")), costs)[0]


# Costs


def test_given_rates_are_by_type_or_for_all() -> None:
    costs = given(["100", "t2vd=20"])
    assert costs["t2t"] == Cost(0.01) and costs["t2vd"] == Cost(0.05) and set(costs) == set(TYPES)
    assert set(given(["t2i=5"])) == {"t2i"}


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        (["fast"], "--rate fast: wanted"),
        (["t2t="], "--rate t2t=: wanted"),
        (["-1"], "--rate -1: wanted"),
        (["nan"], "--rate nan: wanted"),
        (["inf"], "--rate inf: wanted"),
        (["t2x=3"], "'t2x' is no task type"),
        (["t2t=3", "t2t=4"], "given twice for t2t"),
        (["3", "4"], "given twice for all types"),
    ],
)
def test_rates_that_are_none(rates: list[str], said: str) -> None:
    with pytest.raises(MRBError, match=said):
        given(rates)


def test_a_run_has_rates_of_tasks_and_of_their_types(tmp_path: Path, run_record: Any) -> None:
    run_record(tmp_path, {"mini-flag-t2i": (10.0, 1000), "mini-faq-t2t": (4.0, 100)}, workers=2)
    costs = of_run(tmp_path)
    assert costs["mini-flag-t2i"] == costs["t2i"] == Cost(0.02)
    assert cost_of(costs, load_task("scifact")) == Cost(0.08)  # no such task in the run: its type's
    assert cost_of(costs, load_task("docvqa")) is None
    run_record(tmp_path, {}, workers=2)
    with pytest.raises(ResultError, match="no task was timed"):
        of_run(tmp_path)
    with pytest.raises(ResultError, match=r"run\.json"):
        of_run(tmp_path / "none")


@pytest.fixture
def run_record() -> Any:
    """Writes `run.json` with timings by task: (seconds, pairs)."""

    def write(folder: Path, timings: dict[str, tuple[float, int]], workers: int) -> None:
        record = RunRecord(
            schema_version=1,
            mrb_version="0",
            reranker=declared(Adapter("toy", lambda request: [], {}, "test", None)).info,
            suite=None,
            suite_version=None,
            tasks=tuple(timings),
            not_covered=(),
            command=(),
            environment={"workers": str(workers)},
            timings={name: TaskTiming(seconds=seconds, pairs=pairs) for name, (seconds, pairs) in timings.items()},
        )
        write_run(folder, record)

    return write


def test_arithmetic_by_hand() -> None:
    model = load_assumed().model("gmr-3b")
    costs = by_arithmetic(model, teraflops=40, depth=100)
    # A text for a text: 60 + 30 tokens before the seam, once a query; 150 after it, 2 x 2.775e9 operations each.
    assert costs["t2t"].pair == pytest.approx(2 * 2.775e9 * (90 / 100 + 150) / 40e12)
    assert costs["t2t"].spared(100) == pytest.approx(90 * 99 / (100 * 240)) and not costs["t2t"].picture
    # A page: 90 of 1,370 tokens are under the 8 % from which the engine shares; four patches of each of its 1,280.
    assert costs["t2vd"].pair == pytest.approx(2 * 2.775e9 * 1370 / 40e12) and costs["t2vd"].spared(100) == 0
    assert costs["t2vd"].picture == pytest.approx(2 * 0.667e9 * 4 * 1280 / 40e12)
    assert costs["t2vd"].kept == 2048 * 2**20 // (4096 * 1280) == 409
    # A picture as query goes through the tower once for its 100 pairs.
    once = 2 * 0.667e9 * 4 * 256 / 100
    assert costs["i2t"].pair == pytest.approx((2 * 2.775e9 * (316 / 100 + 150) + once) / 40e12)
    assert by_arithmetic(model, 80, 100)["i2t"].pair == pytest.approx(costs["i2t"].pair / 2)
    with pytest.raises(MRBError, match="--assume gmr-9b: no arithmetic of it is known; there is gmr-3b, gmr-7b"):
        load_assumed().model("gmr-9b")


def test_pictures_that_a_worker_sees_are_those_of_random_lists() -> None:
    rng = np.random.default_rng(1)
    lists = [rng.choice(500, 100, replace=False) for _ in range(40)]
    for queries in (1, 5, 40):
        counted = len(set(np.concatenate(lists[:queries]).tolist()))
        assert pictures_seen(queries, 100, 500, kept=500) == pytest.approx(counted, rel=0.02)
    held: OrderedDict[int, None] = OrderedDict()
    looked = 0
    for document in np.concatenate(lists).tolist():
        looked += document not in held
        held[document] = None
        held.move_to_end(document)
        if len(held) > 300:
            held.popitem(last=False)
    assert pictures_seen(40, 100, 500, kept=300) == pytest.approx(looked, rel=0.06)
    assert pictures_seen(40, 100, 50, kept=50) == 50


def test_more_workers_look_at_more_pictures_up_to_one_a_pair() -> None:
    work = made("docvqa", 451, Cost(0.01, picture=0.1, kept=500))
    seen = [work.pictures(workers) for workers in (1, 8, 64, 451, 5000)]
    assert seen == sorted(seen) and seen[0] == pytest.approx(500, rel=0.01) and seen[-1] == pytest.approx(45_100)
    assert work.query_seconds(1) == pytest.approx(100 * 0.01 + 0.1 * seen[0] / 451)


# The simulation


def test_queries_are_handed_out_as_the_executors_do() -> None:
    # Two workers, six queries: three each, then what is left one by one.
    assert took(jobs([1.0] * 6), Cluster(2, 2)) == 3
    # The first takes three of the six, 12 s; the other has two of the three that are left, and then the last.
    assert took(jobs([10.0, 1, 1, 1, 1, 1]), Cluster(2, 2)) == 12
    assert took(jobs([1.0] * 6), Cluster(2, 2), Way(2, 1, cluster=False)) == 3
    # Of seven every second: four in the first part.
    assert took(jobs([1.0] * 7), Cluster(2, 2), Way(2, 1, cluster=False)) == 4


def test_one_run_waits_for_the_last_query_of_a_task_and_parts_do_not() -> None:
    run = jobs([3.0, 1], [1.0, 3])
    assert took(run, Cluster(2, 2)) == 6
    assert took(run, Cluster(2, 2), Way(2, 1, cluster=False)) == 4


def test_start_opening_and_measuring() -> None:
    run = jobs([1.0] * 4, opened=5.0, finish=0.5)
    # Started, opened by the command, then by its workers, scored, measured.
    assert took(run, Cluster(2, 2, start=10)) == 10 + 5 + 5 + 2 + 0.5
    # One process opens once; measuring is what `mrb merge` does after the last.
    assert took(run, Cluster(2, 2, start=10), Way(2, 1, cluster=False)) == 10 + 5 + 2 + 0.5


def test_nodes_fetch_for_themselves_through_a_link_that_they_share() -> None:
    run = jobs([1.0] * 2, gigabytes=1.0, read=7.0)
    # 8 Gbit at 2 Gbit/s: 4 s, and the rows found in 7 s, before each part's one query.
    assert took(run, Cluster(2, 1, link=2.0), Way(2, 1, cluster=False)) == 4 + 7 + 1
    # All nodes together have 2 Gbit/s: the second has its data after 8 s.
    assert took(run, Cluster(2, 1, link=2.0, uplink=2.0), Way(2, 1, cluster=False)) == 8 + 7 + 1
    # In one run the command's node fetches first, and its own worker is done when the other node has begun to read.
    assert took(run, Cluster(2, 1, link=2.0), Way(1, 2, cluster=True)) == 4 + 7 + 2
    # Two workers of one node: fetched once, found by the command, and then by nobody else.
    assert took(run, Cluster(2, 2, link=2.0)) == 4 + 7 + 1
    # Without a link all is there.
    assert took(run, Cluster(2, 2)) == 1


def test_a_slow_worker_keeps_its_part_and_is_asked_less_in_one_run() -> None:
    cluster = Cluster(2, 2, slow=0.5, slow_speed=0.25)
    assert cluster.speeds().tolist() == [1, 0.25]
    run = jobs([1.0] * 100)
    assert took(run, cluster, Way(2, 1, cluster=False)) == 50 / 0.25
    assert 80 <= took(run, cluster) <= 80 + AT_ONCE / 0.25


def test_what_a_lost_worker_held_is_scored_by_others() -> None:
    cluster = Cluster(8, 8, start=30, lost_every=0.05)
    run = jobs([1.0] * 2000)
    whole = took(run, Cluster(8, 8, start=30), Way(1, 8, cluster=True))
    lost = took(run, cluster, Way(1, 8, cluster=True))
    assert whole == 30 + 250 and whole + 30 < lost < 2 * whole


def test_an_adapter_that_reads_ahead_holds_more_at_once() -> None:
    run = jobs([1.0] * 200)
    assert took(run, Cluster(2, 2), read_ahead=64) == 100
    # One that is slow, and reads 64 ahead, is waited for longer.
    slow = Cluster(2, 2, slow=0.5, slow_speed=0.1)
    assert took(run, slow, read_ahead=64) > took(run, slow)


def test_the_same_seed_is_the_same_run() -> None:
    work = suite(given(["10"]), limit=50)
    cluster = Cluster(16, 8, spread=0.5, lost_every=1.0)
    way = ways(cluster)[0]
    found = set()
    for _ in range(2):
        rng = np.random.default_rng(3)
        found.add(simulate(drawn(work, cluster, rng), cluster, way, rng))
    assert len(found) == 1


# The closed form, held to the simulation


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("queries", "workers"), [(5, 64), (64, 64), (200, 64), (300, 8), (1000, 64), (40, 1)])
def test_a_task_ends_when_the_closed_form_says(queries: int, workers: int, spread: float) -> None:
    cluster = Cluster(workers, workers, spread=spread)
    work, rng = [made("nq", queries, Cost(0.01))], np.random.default_rng(5)
    finish = work[0].finish_seconds + 2 * work[0].open_seconds
    runs = [
        simulate(drawn(work, cluster, rng), cluster, Way(1, workers, cluster=False), rng) - finish for _ in range(40)
    ]
    expected = pulled_seconds(queries, 1.0, cluster.speeds(), cluster)
    # Nothing spreads where all queries are alike: then a whole round more or less is one query more or less.
    assert expected == pytest.approx(np.mean(runs), rel=0.07, abs=0.55 if spread == 0 else 0.0)


def test_no_run_is_over_grahams_bound() -> None:
    rng = np.random.default_rng(6)
    for queries, workers in ((50, 8), (500, 8), (100, 64)):
        costs = rng.lognormal(0, 1, queries)
        longest = np.sort(costs)[-AT_ONCE:].sum()
        found = took(jobs(costs.tolist()), Cluster(workers, workers), Way(1, workers, cluster=False))
        assert costs.sum() / workers <= found <= costs.sum() / workers + (1 - 1 / workers) * longest


CLUSTERS = {
    "alike": Cluster(64, 8, start=60, spread=0.5),
    "one node": Cluster(8, 8, start=60, spread=0.5),
    "unlike": Cluster(32, 8, start=60, spread=1.0),
    "slow": Cluster(64, 8, start=60, spread=0.5, slow=0.125, slow_speed=0.5),
    "lost": Cluster(64, 8, start=60, spread=0.5, lost_every=4.0),
    "far": Cluster(64, 8, start=60, spread=0.5, link=10.0, uplink=40.0),
}
# The page says these: docs/design/scale.md.
WHOLE = 0.08
FEW = 0.2


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_way_takes_what_the_plan_says(name: str) -> None:
    """Some tasks at their size; and all 40 with so few queries that each of 64 workers gets three."""
    some = ("cqadupstack", "touche2020", "nights", "docvqa", "okvqa", "evqa")
    costs, cluster = by_arithmetic(load_assumed().model("gmr-3b"), 40, 100), CLUSTERS[name]
    whole = works(registered(map(load_task, some), select("mrb", (), (), None), None), costs)[0]
    for work, bound in ((whole, WHOLE), (suite(costs), FEW)):
        for way in ways(cluster):
            rng = np.random.default_rng(7)
            simulated = simulate(drawn(work, cluster, rng), cluster, way, rng)
            assert estimate(work, cluster, way).seconds == pytest.approx(simulated, rel=bound), way


def test_one_worker_takes_the_sum() -> None:
    work = suite(given(["100"]), limit=10)
    spent = estimate(work, Cluster(1, start=60), Way(1, 1, cluster=False))
    assert spent.work == pytest.approx(40 * 10 * 1.0) and spent.start == 60 and spent.pictures == 0
    assert spent.wait == pytest.approx(0, abs=1e-9) and spent.fetch == 0
    assert spent.seconds == sum((spent.work, spent.start, spent.read, spent.wait, spent.finish))


# The plan


def test_ways_use_every_worker_once() -> None:
    assert [way.command for way in ways(Cluster(1))] == ["one process"]
    assert [way.command for way in ways(Cluster(8, 8))] == ["--workers 8", "--shard I/8"]
    assert [way.command for way in ways(Cluster(16, 8))] == [
        "--executor ray --workers 16",
        "--shard I/2 --workers 8",
        "--shard I/16",
    ]
    assert all(way.parts * way.workers == 16 for way in ways(Cluster(16, 8)))


def test_the_best_way_is_the_shortest_or_as_good_with_fewer_parts() -> None:
    work = suite(given(["20"]), suite_id="mrb")
    # All alike: parts do not wait for each other. One in eight at half speed: the slow parts are waited for.
    assert best(work, Cluster(64, 8, start=60, spread=0.5)).way.parts == 64
    assert best(work, Cluster(64, 8, start=60, spread=0.5, slow=0.125, slow_speed=0.5)).way.workers >= 8
    for point in compared(work, Cluster(8, 8, spread=0.5)):
        assert best(work, Cluster(8, 8, spread=0.5)).estimate.seconds <= 1.02 * point.estimate.seconds


def test_the_curve_falls_until_there_is_enough() -> None:
    work = suite(given(["20"]))
    asked = Asked(work, (), Cluster(24, 8, start=60, spread=0.5), "given", 2.0)
    curve = points(asked)
    assert [point.workers for point in curve] == [1, 2, 4, 8, 16, 24]
    assert all(a.estimate.seconds > b.estimate.seconds for a, b in pairwise(curve))
    assert all(0 < point.efficiency <= 1 for point in curve)
    last = enough(asked)
    twice = best(work, Cluster(2 * last.workers, 8, start=60, spread=0.5))
    before = best(work, Cluster(last.workers // 2, 8, start=60, spread=0.5))
    assert twice.estimate.seconds * 1.1 > last.estimate.seconds > last.estimate.seconds / 1.1
    assert before.estimate.seconds >= 1.1 * last.estimate.seconds


def test_what_is_unknown_is_counted_and_not_made_up() -> None:
    selection = select(None, ("scifact", "nights", "docvqa"), (), None)
    work, without = works(registered(selection.tasks, selection, None), given(["t2t=10", "i2i=10"]))
    found = record(Asked(work, without, Cluster(4, 2), "given", None))
    assert found["without_rate"] == ["docvqa"] and found["tasks_of_unknown_size"] == 1
    assert found["bytes_to_fetch_per_node"] == round(load_task("nights").size.gigabytes * 1e9)  # type: ignore[operator]
    assert found["bytes_to_fetch"] == 2 * found["bytes_to_fetch_per_node"]
    assert found["journal_bytes"] == (300 + 2120) * (34 + 400)
    assert all(point["cost"] is None for point in found["curve"])
