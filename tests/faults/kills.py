"""SIGKILL at random moments: the command and all its workers, again and again, until it may finish."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.commands import Command, Files, same_files, whole_or_absent
from tests.faults.tools import Lost, Outcome, ended, outcome

AT_MOST = 4
"""Kills of one run on its way, so that early and late moments are hit alike."""


def killed(command: Command, folder: Path, kills: int, chance: random.Random) -> Iterator[Outcome]:
    """`kills` trials, in runs of up to AT_MOST: after each kill what is there is looked at, after a run's last one the
    same command finishes and its files are compared with an uninterrupted run's. A command that was too fast for its
    kill is none."""
    began = time.monotonic()
    whole = command.finished(command.ready(folder / "whole"))
    seconds = time.monotonic() - began
    number = 0
    while kills:
        place, number = command.ready(folder / f"run-{number}"), number + 1
        found: list[Outcome] = []
        for _ in range(min(kills, chance.randint(1, AT_MOST))):
            if not kill_once(command, place, chance.uniform(0, seconds), whole, found):
                break
        if found:
            found[-1] = found[-1] or outcome(lambda place=place: same_files(command.finished(place), whole))
        kills -= len(found)
        yield from found


def kill_once(command: Command, folder: Path, delay: float, whole: Files, found: list[Outcome]) -> bool:
    """Start the command, kill it after `delay` seconds and look at what is there; False if it had ended by then."""
    before = command.kept(folder)
    process = command.start(folder)
    end = time.monotonic() + delay
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    done = ended(process)
    if done.returncode == -signal.SIGKILL:
        found.append(outcome(lambda: _look(command, folder, before, whole)))
        return True
    if done.returncode:
        found.append(f"the same command failed: {done.stderr.strip()[-300:]}")
    return False


def _look(command: Command, folder: Path, before: int, whole: Files) -> None:
    whole_or_absent(command, folder, whole)
    if command.kept(folder) < before:
        raise Lost(f"{before} were kept before the kill, {command.kept(folder)} after it")
