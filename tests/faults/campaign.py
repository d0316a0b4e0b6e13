"""All faults, in the order of the table, and how often each is tried."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import commands
from commands import Command
from kills import killed
from tools import Fault, Outcome

SHARES = {
    "mrb run": 0.42,
    "mrb run --workers 2": 0.12,
    "mrb retrieve": 0.2,
    "mrb data pull": 0.1,
    "mrb leaderboard build": 0.1,
    "mrb train": 0.06,
}
"""Of the random kills; the dear ones get fewer."""


@dataclass(frozen=True)
class Scale:
    """How much is tried: `kills` random kills in all; `quick`: a few of everything, and no training."""

    kills: int
    seed: int
    quick: bool = False


def faults(folder: Path, scale: Scale) -> Iterator[Fault]:
    """The rows of the table."""
    for name, share in SHARES.items():
        if not (scale.quick and name == "mrb train"):
            kills = max(2, round(scale.kills * share))
            yield Fault(f"SIGKILL at a random moment, {name}", partial(_kills, name, kills, scale.seed))


def _kills(name: str, kills: int, seed: int, folder: Path) -> Iterator[Outcome]:
    with opened(name, folder / "inputs") as command:
        yield from killed(command, folder, kills, random.Random(f"{name} {seed}"))


def opened(name: str, folder: Path) -> AbstractContextManager[Command]:
    """The command of this name, with its inputs in `folder`."""
    if name == "mrb data pull":
        return commands.pull_command()
    if name == "mrb train":
        return nullcontext(commands.train_command(folder))
    if name == "mrb leaderboard build":
        return nullcontext(commands.board_command(commands.many_runs(folder, 6)))
    if name == "mrb retrieve":
        return nullcontext(commands.retrieve_command())
    workers = ("--workers", "2") if name.endswith("2") else ()
    return nullcontext(commands.run_command(*workers, name=name))
