"""Clocks that jump, and two processes that do the same thing at once."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.commands import Command, Files, same_files
from tests.faults.tools import Lost, Outcome, ended, outcome, refused_in_one_line, wait_until

JUMPS = ("-20y", "+20y", "-1d", "+1d")


def has_faketime() -> bool:
    """Whether a process can be given another clock."""
    return shutil.which("faketime") is not None


def clock_jumps(command: Command, folder: Path, jumps: tuple[str, ...] = JUMPS) -> Iterator[Outcome]:
    """Killed under one clock, gone on with under another."""
    whole = command.finished(command.ready(folder / "whole"))
    for jump in jumps:
        place = command.ready(folder / jump)
        yield outcome(lambda place=place, jump=jump: _jumped(command, place, jump, whole))


def _jumped(command: Command, place: Path, jump: str, whole: Files) -> None:
    process = command.start(place, "faketime", "-f", jump)
    wait_until(lambda: command.kept(place) > 3, process)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    ended(process)
    same_files(command.finished(place), whole)


def two_at_once(command: Command, folder: Path, times: int, chance: random.Random) -> Iterator[Outcome]:
    """The command twice in one folder, the second a moment later; then once more."""
    whole = command.finished(command.ready(folder / "whole"))
    for number in range(times):
        place = command.ready(folder / f"pair-{number}")
        yield outcome(lambda place=place: _both(command, place, chance.uniform(0, 1.5), whole))


def _both(command: Command, place: Path, later: float, whole: Files) -> None:
    first = command.start(place)
    time.sleep(later)
    second = command.start(place)
    done = [ended(process) for process in (first, second)]
    for one in done:
        if one.returncode:
            refused_in_one_line(one)
    if all(one.returncode for one in done):
        raise Lost("both were refused")
    same_files(command.finished(place), whole)
