"""All faults, in the order of the table, and how often each is tried."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults import commands, disks, journals, machines, misbehaving
from tests.faults.commands import Command
from tests.faults.kills import killed
from tests.faults.tools import Fault, Outcome

SHARES = {
    "mrb run": 0.42,
    "mrb run --workers 2": 0.12,
    "mrb candidates make": 0.2,
    "mrb data pull": 0.1,
    "mrb leaderboard build": 0.1,
    "mrb train": 0.06,
}
"""Of the random kills; the dear ones get fewer."""
RUN, RETRIEVE, BOARD, TRAIN, PULL = (
    "mrb run",
    "mrb candidates make",
    "mrb leaderboard build",
    "mrb train",
    "mrb data pull",
)
ERRORS = {"fsync": "EIO", "rename": "EIO", "ftruncate": "EIO", "mkdir": "EIO"}
SIZES = {RUN: [12, 24, 40, 48, 56], RETRIEVE: [100, 500, 900], PULL: [8, 40, 80], BOARD: [20, 100, 300], TRAIN: [900]}
"""Kilobytes of disks that are too small: for the first file, in the middle, for the last one."""
ODD = ("hang", "hang in native code", "segfault", "exit", "memory", "leak", "print", "close")
Trials = Callable[[Command, Path], Iterator[Outcome]]


@dataclass(frozen=True)
class Scale:
    """How much is tried: `kills` random kills in all; `quick`: a few of everything, and no training."""

    kills: int
    seed: int
    quick: bool = False


def faults(scale: Scale) -> Iterator[Fault]:
    """The rows of the table."""
    names = [name for name in SHARES if not (scale.quick and name == TRAIN)]
    for name in names:
        kills = max(1 if scale.quick else 2, round(scale.kills * SHARES[name]))
        chance = random.Random(f"{name} {scale.seed}")
        yield _of(f"SIGKILL at a random moment, {name}", name, partial(killed, kills=kills, chance=chance))
    if not scale.quick:  # what tests/evaluation tries of disks and two processes runs in the tests
        yield from _on_disks(names, scale)
        yield from _on_machines(names, scale)
    yield Fault("journal damaged at a byte", partial(journals.damaged, step=40 if scale.quick else 1))
    for how in ODD[:1] if scale.quick else ODD:
        hows = [(how, False)] if scale.quick else [(how, False), (how, True)]
        yield Fault(f"adapter: {how}, alone and in a worker", partial(misbehaving.trials, hows=hows))
    if not scale.quick:
        yield Fault("adapter: other scores at every call, killed", misbehaving.changing_scores)


def _on_disks(names: list[str], scale: Scale) -> Iterator[Fault]:
    for name in names:
        if name in SIZES:
            yield _of(f"full disk, {name}", name, partial(disks.full, sizes=SIZES[name]))
            yield _of(f"read-only file system, {name}", name, disks.read_only)
    if not disks.has_strace():
        yield Fault("failing and slow disks: strace is not installed", lambda folder: iter(()))
        return
    times = [1, 2, 3, 5, 8]
    for name in (RUN, RETRIEVE, BOARD):
        yield _of(f"system calls fail with EIO, {name}", name, partial(disks.failing, calls=ERRORS, times=times))
    for call in ("fsync", "rename", "unlink"):
        chance = random.Random(scale.seed)
        trials = partial(disks.at_each_call, call=call, most=12, chance=chance)
        yield _of(f"SIGKILL at a {call}, mrb run", RUN, trials)
    for name in (RUN, BOARD):
        yield _of(f"slow disk, 200 ms a sync or rename, {name}", name, partial(disks.slow, milliseconds=200))


def _on_machines(names: list[str], scale: Scale) -> Iterator[Fault]:
    if machines.has_faketime():
        yield _of("clock jumps, mrb run", RUN, machines.clock_jumps)
        yield _of("clock jumps, mrb candidates make", RETRIEVE, machines.clock_jumps)
    else:
        yield Fault("clock jumps: faketime is not installed", lambda folder: iter(()))
    for name in (RUN, RETRIEVE, PULL, BOARD, TRAIN):
        trials = partial(machines.two_at_once, times=2 if name == TRAIN else 4, chance=random.Random(scale.seed))
        yield _of(f"two processes at once, {name}", name, trials)


def _of(title: str, name: str, trials: Trials) -> Fault:
    def of_command(folder: Path) -> Iterator[Outcome]:
        with _opened(name, folder / "inputs") as command:
            yield from trials(command, folder)

    return Fault(title, of_command)


def _opened(name: str, folder: Path) -> AbstractContextManager[Command]:
    """The command of this name, with its inputs in `folder`."""
    if name == PULL:
        return commands.pull_command()
    if name == TRAIN:
        return nullcontext(commands.train_command(folder))
    if name == BOARD:
        return nullcontext(commands.board_command(commands.many_runs(folder, 6)))
    if name == RETRIEVE:
        return nullcontext(commands.retrieve_command())
    workers = ("--workers", "2") if name.endswith("2") else ()
    return nullcontext(commands.run_command(*workers, name=name))
