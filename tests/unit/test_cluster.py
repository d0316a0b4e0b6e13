"""A cluster's workers without Ray: threads, parts of a plan, what is handed out when workers are lost."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, cast

import pytest

from mrb.errors import MRBError
from mrb.evaluate.part import Part, part_of
from mrb.workers.cluster.handing import Handing
from mrb.workers.cluster.member import Member


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
    pytest.importorskip("ray")
    from mrb.workers.cluster.relay import threads

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


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "-1/2", "a/b", "1/2/3", "1/1000000", "", "١/٢"])
def test_parts_that_there_are_not(text: str) -> None:
    with pytest.raises(MRBError, match="wanted I/N"):
        part_of(text)


def test_parts_that_there_are() -> None:
    assert part_of(None) is None
    assert part_of("2/8") == Part(2, 8)
    assert part_of("2/8") and Part(2, 8).folder == "2-of-8"
