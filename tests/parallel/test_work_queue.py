"""Workers without processes: what each gets of the machine, how queries are shared out, how an error travels."""

from __future__ import annotations

import os
import pickle
import random
from collections import Counter
from pathlib import Path

import pytest

from mrb.errors import AdapterError, DataError
from mrb.parallel.messages import Piece, make_portable
from mrb.parallel.resources import list_visible_gpus, make_worker_environment
from mrb.parallel.work_queue import AT_ONCE, InHand, WorkQueue


def spans(count: int) -> list[tuple[str, int, int]]:
    return [(f"q{n}", 0, 5) for n in range(count)]


@pytest.mark.parametrize(
    ("stated", "wanted"),
    [
        ("0", ["0"]),
        ("2, 0,3", ["2", "0", "3"]),
        ("GPU-5ebe,MIG-77", ["GPU-5ebe", "MIG-77"]),
        ("", []),
        ("-1", []),
        ("1,-1,2", ["1"]),
    ],
)
def test_gpus_are_those_that_the_variable_shows(
    monkeypatch: pytest.MonkeyPatch, stated: str, wanted: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", stated)
    assert list_visible_gpus() == wanted


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ("echo 'GPU 0: A (UUID: GPU-1)'; echo '  MIG 1g.5gb Device 0: (UUID: MIG-2)'; echo 'GPU 1: A'", ["0", "1"]),
        ("echo 'GPU 0: A'; echo 'no driver' >&2; exit 9", []),
    ],
)
def test_without_the_variable_the_driver_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, wanted: list[str]
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert list_visible_gpus() == wanted


def test_workers_take_gpus_in_turn_and_a_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = [make_worker_environment(number, 3, ["4", "6"]) for number in range(3)]
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in found] == ["4", "6", "4"]
    assert {environment["OMP_NUM_THREADS"] for environment in found} == {str(max(1, (cores or 1) // 3))}
    assert make_worker_environment(0, 1, ["4"])["OMP_NUM_THREADS"] == str(cores)
    assert {environment["PATH"] for environment in found} == {os.environ["PATH"]}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,6", "the run's own environment is as it was"


def test_where_there_are_no_gpus_or_threads_are_set_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert "CUDA_VISIBLE_DEVICES" not in make_worker_environment(1, 2, [])
    assert make_worker_environment(1, 2, [])["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 40, 301])
def test_every_query_is_handed_out_once_in_order_to_whoever_holds_nothing(workers: int, count: int) -> None:
    queue, chance = WorkQueue(spans(count)), random.Random(count)
    in_hand: list[InHand] = [{} for _ in range(workers)]
    taken: list[Piece] = []
    for _ in range(20 * count + 20):
        who = chance.choice(in_hand)
        if chance.random() < 0.5:
            for key in list(who)[: chance.randint(1, 20)]:
                assert queue.accept(who, key)
        held_nothing = not who
        pieces = queue.take(who, workers)
        assert len(pieces) <= AT_ONCE
        assert pieces or not held_nothing or len(taken) == count, "a worker that holds nothing gets what there is"
        taken += pieces
    assert taken == spans(count)


def test_one_that_reads_far_ahead_leaves_as_much_for_each_other() -> None:
    queue, in_hand = WorkQueue(spans(100)), InHand()
    while queue.take(in_hand, 4):
        pass
    assert abs(len(in_hand) - 100 / 5) <= 1, "one share of what it leaves, which is the other four"
    assert len(queue.take({}, 4)) == AT_ONCE


@pytest.mark.parametrize("seed", range(20))
def test_whoever_is_lost_every_query_is_answered_once(seed: int) -> None:
    chance = random.Random(seed)
    queue = WorkQueue(spans(60))
    workers: list[InHand] = [{} for _ in range(3)]
    answered: Counter[str] = Counter()
    for _ in range(100_000):
        if queue.is_finished:
            break
        who = chance.choice(workers)
        if who and chance.random() < 0.1:
            queue.requeue(who)
        elif who and chance.random() < 0.6:
            key = next(iter(who))
            assert queue.accept(who, key) and not queue.accept(who, key)
            answered[key] += 1
        else:
            queue.take(who, len(workers))
    assert queue.is_finished and not queue.has_work
    assert answered == Counter(f"q{n}" for n in range(60))


def test_what_a_lost_worker_held_is_handed_out_one_by_one() -> None:
    queue = WorkQueue(spans(100))
    lost, other, third = InHand(), InHand(), InHand()
    queue.take(lost, 3)
    held = list(lost)
    assert len(held) == 8
    queue.take(other, 3)
    queue.requeue(lost)
    assert not lost
    assert not {piece[0] for piece in queue.take(other, 3)} & set(held), "one that holds others gets none of them"
    assert [piece[0] for piece in queue.take(third, 3)] == held[:1]
    assert queue.take(third, 3) == [], "and nothing beside it"
    queue.accept(third, held[0])
    assert [piece[0] for piece in queue.take(third, 3)] == held[1:2]
    queue.requeue(third)
    assert [piece[0] for piece in queue.take(third, 3)] == held[2:3], "the others first"


class OwnError(AdapterError):
    """Stands for an adapter's class, whose module another process cannot import."""


def test_an_error_travels_as_one_of_mrbs_with_its_traceback() -> None:
    try:
        try:
            raise KeyError("deep inside")
        except KeyError as error:
            raise OwnError("query 'q1': lost") from error
    except OwnError as error:
        found = pickle.loads(pickle.dumps(make_portable(error)))
    assert type(found) is AdapterError
    assert str(found) == "query 'q1': lost"
    assert "KeyError: 'deep inside'" in found.__notes__[0]
    assert type(make_portable(DataError("damaged"))) is DataError
