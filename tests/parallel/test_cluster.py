"""A cluster's workers without Ray: threads, parts of a plan, what is handed out when workers are lost."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mrb.cli.executor import refuse_without_ray
from mrb.data.task import load_task
from mrb.errors import AdapterError, MRBError
from mrb.evaluation.journal import Record
from mrb.evaluation.plan import Entry
from mrb.evaluation.spec import Shard, TaskSpec, parse_shard
from mrb.parallel.messages import Answer, Ask, Built, Close, Done, Lost
from mrb.parallel.pool import WorkerPool
from mrb.parallel.ray_cluster import ClusterOptions
from mrb.parallel.scoring import PoolExecutor, ScoringSpec
from mrb.parallel.work_queue import WorkQueue
from mrb.results.schema import RerankerInfo
from tests.builders.logs import logged

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_token")]  # some of what is tested here imports Ray


@pytest.mark.parametrize(
    ("resources", "gpus", "workers", "wanted"),
    [
        ({"CPU": 64.0, "GPU": 8.0}, 1.0, 100, 8),  # eight fit
        ({"CPU": 64.0, "GPU": 8.0}, 1.0, 4, 16),  # four are wanted
        ({"CPU": 64.0, "GPU": 8.0}, 0.5, 100, 4),
        ({"CPU": 16.0}, 0.0, 100, 1),
        ({"CPU": 16.0}, 0.0, 2, 8),
        ({}, 0.0, 2, 1),
    ],
)
def test_threads_are_a_share_of_the_nodes_cores(
    resources: dict[str, float], gpus: float, workers: int, wanted: int
) -> None:
    from mrb.parallel.ray_workers import count_threads

    assert count_threads(resources, gpus, workers) == wanted


@pytest.mark.parametrize(
    ("executor", "wanted", "line"),
    [
        ("ray", ClusterOptions(), r"pip install 'mrb\[ray\]'"),
        ("local", ClusterOptions(address="auto"), "are for --executor ray"),
        ("local", ClusterOptions(gpus=1.0), "are for --executor ray"),
    ],
)
def test_options_of_the_other_executor_and_a_missing_ray_are_refused(
    monkeypatch: pytest.MonkeyPatch, executor: str, wanted: ClusterOptions, line: str
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(MRBError, match=line):
        refuse_without_ray(executor, wanted)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "-1/2", "a/b", "1/2/3", "1/1000000", "", "١/٢"])
def test_parts_that_there_are_not(text: str) -> None:
    with pytest.raises(MRBError, match="wanted I/N"):
        parse_shard(text)


def test_parts_that_there_are() -> None:
    assert parse_shard(None) is None
    assert parse_shard("2/8") == Shard(2, 8)
    assert parse_shard("2/8") and Shard(2, 8).folder == "2-of-8"


class ScriptedLink:
    """A worker that sends what the test says; what it is sent is kept."""

    def __init__(self, name: str, sent: list[object]) -> None:
        self.name = name
        self.sent = sent
        self.killed = False

    def send(self, message: object) -> None:
        self.sent.append(message)

    def has_message(self) -> bool:
        return False

    def wait(self) -> None:
        pass

    def kill(self) -> None:
        self.killed = True


class Scripted:
    """A transport that replaces lost workers; `script` are (number of the worker, message) in order of arrival."""

    replaces_lost = True

    def __init__(self, count: int, *script: tuple[int, object]) -> None:
        self.count = count
        self.script = list(script)
        self.sent: list[object] = []
        self.links: list[ScriptedLink] = []

    def start(self, number: int) -> ScriptedLink:
        self.links.append(ScriptedLink(f"worker {number + 1}", self.sent))
        return self.links[-1]

    def receive(self, links: Sequence[ScriptedLink]) -> list[tuple[ScriptedLink, list[object]]]:
        number, message = self.script.pop(0)
        return [(self.links[number], message if isinstance(message, list) else [message])]


INFO = RerankerInfo(
    name="words",
    kind="pointwise",
    inputs=("text",),
    version="",
    uses_first_stage=False,
    batch_invariant=True,
    options={},
    source="words.py",
    source_sha256="0" * 64,
)
JOB = ScoringSpec("words", {})
BUILT = Done(Built(INFO, {"numpy": "2.4", "torch": "2.13"}))


def start(transport: Scripted) -> WorkerPool:
    pool = WorkerPool(transport, JOB)
    pool.build()
    return pool


def finish(pool: WorkerPool, transport: Scripted) -> list[str]:
    """Handle the rest of the script, and return the keys that were answered."""
    return [answer.key for _ in range(len(transport.script)) for _, answer in pool._round()]


def test_three_in_a_row_that_end_before_they_do_anything_end_the_run() -> None:
    with logged() as told:
        own, with_node = Lost("was killed by SIGSEGV"), Lost("was lost", with_node=True)
        working = [(0, Done()), (0, Ask()), (0, Answer("q0", None)), (0, Ask()), (0, Done())]
        transport = Scripted(2, (0, BUILT), (1, own), (2, own), *working)
        pool = start(transport)
        pool.open("task", "t")
        assert len(list(pool.run(WorkQueue([("q0", 0, 5)])))) == 1, "which resets the count"
        transport.script += [(3, own), (4, own), (5, with_node), (6, with_node)]
        finish(pool, transport)
        transport.script = [(7, own)]
        with pytest.raises(AdapterError, match=r"worker 8 was killed by SIGSEGV while building .*, as did 2 before it"):
            finish(pool, transport)
        assert len(told) == 6 and all("the command continues" in line for line in told)
        assert all(link.killed for link in transport.links[1:8])


@pytest.mark.parametrize("given_up", [True, False])
def test_a_lost_workers_query_is_handed_out_again_and_the_second_loss_gives_it_up(given_up: bool) -> None:
    lost = Lost("ended with exit code 7")
    script = [(0, BUILT), (1, BUILT), (0, Done()), (1, Done()), (0, Ask()), (0, lost), (1, Ask()), (1, lost)]
    with logged() as told:
        pool = start(Scripted(2, *script))
        pool.open("task", "t")
        give_up = (lambda piece, error: f"{piece} {error}") if given_up else None
        running = pool.run(WorkQueue([("q0", 0, 5)]), give_up)
        end = "ended with exit code 7 while scoring task t, query 'q0'"
        if given_up:
            assert f"('q0', 0, 5) worker 2 {end}, as did one before it" in str(next(running)[1].value)
        else:
            with pytest.raises(AdapterError, match="as did one before it; what was scored before is kept"):
                next(running)
    assert told == [f"worker 1 {end}; handed out again, the command continues"]


def test_where_workers_are_not_replaced_a_loss_ends_the_command() -> None:
    transport = Scripted(2, (0, BUILT), (1, Lost("(process 5) was killed by SIGKILL")))
    transport.replaces_lost = False
    with pytest.raises(
        AdapterError, match=r"^worker 2 \(process 5\) was killed by SIGKILL while building the reranker; "
    ):
        start(transport)


def test_no_room_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with logged() as told:
        import ray

        from mrb.parallel import ray_workers as module

        workers = module.RayWorkers(2, 0.0)
        link: Any = SimpleNamespace(node=None)
        now = [100.0]
        monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
        monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 0.0})
        for seconds in (0, 10, 4, 2, 50):
            now[0] += seconds
            workers.warn_if_no_room([link])
        assert told == ["the cluster has no room for a worker yet (1 CPU, 0 GPUs; it has 0 and 0); waiting"]


def test_other_packages_on_a_node_are_refused_by_name() -> None:
    transport = Scripted(2, (0, BUILT), (1, Done(Built(INFO, {"numpy": "2.3"}))))
    pool = start(transport)
    assert pool.info == INFO
    assert transport.sent == [JOB, JOB]
    with pytest.raises(AdapterError, match=r"worker 2 has numpy 2\.3, another worker has 2\.4"):
        finish(pool, transport)


def test_another_source_on_a_node_is_refused_by_name() -> None:
    other = INFO.model_copy(update={"source_sha256": "1" * 64})
    transport = Scripted(2, (0, BUILT), (1, Done(Built(other, {}))))
    with pytest.raises(AdapterError, match="worker 2 declares other values than the first"):
        finish(start(transport), transport)


def test_every_idle_worker_closes_its_job_and_none_that_still_builds_is_waited_for() -> None:
    zeros = np.zeros(5, np.float32)
    spec = TaskSpec(load_task("mini-faq-t2t"), 5, None, None, None)
    plan: Any = SimpleNamespace(candidates=SimpleNamespace(sha256="0" * 64))
    transport = Scripted(3, (0, BUILT), (1, BUILT), (0, Done()), (1, Done()), (0, Ask()), (1, Ask()))
    transport.script += [(0, Answer("q1", Record("q1", 0, zeros))), (0, Ask()), (0, Done())]
    transport.script += [(1, Answer("q2", Record("q2", 0, zeros))), (1, Ask()), (1, Done())]
    pool = start(transport)
    score = PoolExecutor(pool).open(spec, plan)
    entries = [Entry(query_id, list("abcde"), zeros) for query_id in ("q1", "q2")]
    assert [record.query_id for record in score(entries)] == ["q1", "q2"]
    assert not transport.script, "it waits until both have done all"
    transport.sent.clear()
    transport.script = [(1, [Done(), Lost("ended with exit code 0")]), (0, Done())]
    pool.close()
    assert transport.sent == [Close(), Close()]
