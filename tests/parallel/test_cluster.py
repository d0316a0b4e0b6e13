"""A cluster's workers without Ray: threads, parts of a plan, what is handed out when workers are lost."""

from __future__ import annotations

import random
import sys
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from mrb.cli.executor import refuse_without_ray
from mrb.data.task import load_task
from mrb.errors import AdapterError, MRBError
from mrb.evaluation.journal import Record
from mrb.evaluation.plan import Entry
from mrb.evaluation.spec import Shard, TaskSpec, parse_shard
from mrb.parallel.cluster.connect import Wanted
from mrb.parallel.cluster.requeueing_queue import Handing
from mrb.parallel.cluster.worker_handle import Joined, Lost, Member
from mrb.parallel.messages import Ask, Build, Close, Done, Packages
from mrb.results.schema import RerankerInfo
from tests.builders.logs import logged

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_token")]  # some of what is tested here imports Ray


def member(name: str = "worker 1") -> Member:
    return Member(name, actor=None, stream=None)


def handing(count: int) -> Handing:
    return Handing(cast(Any, None), [(f"q{n}", 0, 5) for n in range(count)], None)


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
    from mrb.parallel.cluster.worker_actor import threads

    assert threads(resources, gpus, workers) == wanted


@pytest.mark.parametrize("seed", range(20))
def test_whoever_is_lost_every_query_is_answered_once(seed: int) -> None:
    chance = random.Random(seed)
    given = handing(60)
    members = [member() for _ in range(3)]
    answered: Counter[str] = Counter()
    for _ in range(100_000):
        if given.over:
            break
        who = chance.choice(members)
        if who.in_hand and chance.random() < 0.1:
            given.give_back(who)
            members[members.index(who)] = member()
        elif who.in_hand and chance.random() < 0.6:
            query_id = next(iter(who.in_hand))
            given.answered(who, query_id)
            answered[query_id] += 1
        else:
            given.take(who, len(members))
    assert given.over and not given.left
    assert answered == Counter(f"q{n}" for n in range(60))


def test_what_a_lost_worker_held_is_handed_out_one_by_one() -> None:
    given = handing(100)
    lost, other, third = member(), member(), member()
    held = [span[0] for span in given.take(lost, 3)]
    assert len(held) == 8
    given.take(other, 3)
    given.give_back(lost)
    assert not lost.in_hand
    assert not {span[0] for span in given.take(other, 3)} & set(held), "one that holds others gets none of them"
    assert [span[0] for span in given.take(third, 3)] == held[:1]
    assert given.take(third, 3) == [], "and nothing beside it"
    given.answered(third, held[0])
    assert [span[0] for span in given.take(third, 3)] == held[1:2]
    given.give_back(third)
    assert [span[0] for span in given.take(third, 3)] == held[2:3], "the others first"


@pytest.mark.parametrize(
    ("executor", "wanted", "line"),
    [
        ("ray", Wanted(), r"pip install 'mrb\[ray\]'"),
        ("local", Wanted(address="auto"), "are for --executor ray"),
        ("local", Wanted(gpus=1.0), "are for --executor ray"),
    ],
)
def test_options_of_the_other_executor_and_a_missing_ray_are_refused(
    monkeypatch: pytest.MonkeyPatch, executor: str, wanted: Wanted, line: str
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


def crew() -> Any:
    from mrb.parallel.cluster.worker_group import Crew

    return Crew(2, 0.0, "mrb.parallel.worker")


def test_three_in_a_row_that_end_before_they_do_anything_end_the_run() -> None:
    workers = crew()
    own, with_node = Lost("was killed by SIGSEGV", with_node=False), Lost("was lost", with_node=True)
    workers.unused("worker 1 ...", own)
    workers.unused("worker 2 ...", own)
    workers.worked()  # another has scored something
    for lost in (own, own, with_node, with_node):
        workers.unused("worker 3 ...", lost)
    with pytest.raises(AdapterError, match="worker 9 was killed by SIGSEGV, as did 2 before it"):
        workers.unused("worker 9 was killed by SIGSEGV", own)


def test_no_room_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from mrb.parallel.cluster import worker_group as module

    workers = crew()
    workers.members.append(member())
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 0.0})
    with logged() as lines:
        for seconds in (0, 10, 4, 2, 50):
            now[0] += seconds
            workers._tell_if_nobody_comes()
    assert lines == ["the cluster has no room for a worker yet (1 CPU, 0 GPUs; it has 0 and 0); waiting"]


class Scripted:
    """A crew whose workers say what the test says, in this order; what they are told is kept."""

    size = 2
    hiring = True

    def __init__(self, *said: tuple[Member, object]) -> None:
        self.members = list(dict.fromkeys(who for who, _ in said))
        self.said = list(said)
        self.told: list[object] = []
        for who in self.members:
            who.actor = self
        self.tell = self

    def remote(self, message: object) -> None:
        self.told.append(message)

    def events(self, timeout: float | None = None) -> list[tuple[Member, object]]:
        return [self.said.pop(0)]

    def drop(self, who: Member) -> None:
        self.members.remove(who)

    def worked(self) -> None:
        pass


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


def _joining(*members: tuple[Member, RerankerInfo, dict[str, str]]) -> Scripted:
    script: list[tuple[Member, object]] = []
    for who, info, packages in members:
        script += [(who, Joined("node", "host")), (who, Done(info)), (who, Done(packages))]
    return Scripted(*script)


def test_other_packages_on_a_node_are_refused_by_name() -> None:
    from mrb.parallel.cluster.scoring import OnRay

    first, second = member("worker 1 on a"), member("worker 2 on b")
    script = _joining((first, INFO, {"numpy": "2.4", "torch": "2.13"}), (second, INFO, {"numpy": "2.3"}))
    reranker = OnRay(cast(Any, script), Build("words", {}), None)
    assert reranker.info == INFO
    assert script.told == [Build("words", {}), Packages()]
    with pytest.raises(AdapterError, match=r"worker 2 on b has numpy 2\.3, another worker has 2\.4"):
        for _ in range(3):
            reranker._round()


def test_another_source_on_a_node_is_refused_by_name() -> None:
    from mrb.parallel.cluster.scoring import OnRay

    other = INFO.model_copy(update={"source_sha256": "1" * 64})
    script = _joining((member("worker 1 on a"), INFO, {}), (member("worker 2 on b"), other, {}))
    reranker = OnRay(cast(Any, script), Build("words", {}), None)
    with pytest.raises(AdapterError, match="worker 2 on b declares other things than the first"):
        for _ in range(2):
            reranker._round()


def test_every_worker_closes_its_reranker_also_one_that_has_not_said_yet_that_it_has_done_all() -> None:
    from mrb.parallel.cluster.scoring import OnRay

    zeros = np.zeros(5, np.float32)
    choice = TaskSpec(load_task("mini-faq-t2t"), 5, None, None, None)
    plan = SimpleNamespace(candidates=SimpleNamespace(sha256="0" * 64))
    first, second, late = member("worker 1"), member("worker 2"), member("worker 3")
    script = _joining((first, INFO, {}), (second, INFO, {}))
    script.members.append(late)  # its node still starts it
    script.said += [(first, Done()), (second, Done()), (first, Ask()), (second, Ask())]
    script.said += [(first, Record("q1", 0, zeros)), (second, Record("q2", 0, zeros))]
    reranker = OnRay(cast(Any, script), Build("words", {}), None)
    score = reranker.open(choice, cast(Any, plan))
    entries = [Entry(query_id, list("abcde"), zeros) for query_id in ("q1", "q2")]
    assert {record.query_id for record in score(entries)} == {"q1", "q2"}
    script.told.clear()
    script.said = [
        (first, Ask()),
        (first, Done()),
        (second, Ask()),
        (first, Done()),
        (second, Done()),
        (second, Done()),
    ]
    reranker.close()
    assert script.told == [[], Close(), [], Close()]
    assert script.members == [late] and not script.said
