"""Disks that are full, read-only, slow, or fail: real mounts, and real system calls that strace lets fail."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.faults.commands import Command, Files, same_files, whole_or_absent
from tests.faults.tools import Done, Lost, Outcome, outcome, refused_in_one_line


def full(command: Command, folder: Path, sizes: list[int]) -> Iterator[Outcome]:
    """The command on a disk of so many kB, then on one with room; a size that is enough tries nothing."""
    whole = command.finished(command.ready(folder / "whole"))
    for size in sizes:
        place = _mounted(command, folder / f"{size}k", size)
        try:
            done = command.run(place)
            if done.returncode:
                yield outcome(lambda place=place, done=done: _goes_on_with_room(command, place, done, whole))
        finally:
            _shell("umount", place)


def _goes_on_with_room(command: Command, place: Path, done: Done, whole: Files) -> None:
    if not any(word in refused_in_one_line(done) for word in ("space", "MB left")):
        raise Lost(f"a full disk is not named: {refused_in_one_line(done)}")
    whole_or_absent(command, place, whole)
    kept = command.kept(place)
    _shell("mount", "-o", "remount,size=200m", place)
    same_files(command.finished(place), whole)
    if command.kept(place) < kept:
        raise Lost("what was kept on the full disk is gone")


def read_only(command: Command, folder: Path) -> Iterator[Outcome]:
    """The command where nothing can be written, then where it can."""
    whole = command.finished(command.ready(folder / "whole"))
    place = _mounted(command, folder / "closed", 200_000)
    try:
        _shell("mount", "-o", "remount,ro", place)
        yield outcome(lambda: _goes_on_when_open(command, place, whole))
    finally:
        _shell("umount", place)


def _goes_on_when_open(command: Command, place: Path, whole: Files) -> None:
    refused_in_one_line(command.run(place))
    _shell("mount", "-o", "remount,rw", place)
    same_files(command.finished(place), whole)


def failing(command: Command, folder: Path, calls: dict[str, str], times: list[int]) -> Iterator[Outcome]:
    """The command while the n-th of a system call fails (of `calls`: call -> error), then the same command."""
    whole = command.finished(command.ready(folder / "whole"))
    for call, error in calls.items():
        for number in times:
            place = command.ready(folder / f"{call}-{error}-{number}")
            done = command.run(place, *_traced(call, f"error={error}:when={number}"))
            yield outcome(lambda place=place, done=done: _goes_on(command, place, done, whole))


def _goes_on(command: Command, place: Path, done: Done, whole: Files) -> None:
    if done.returncode:
        refused_in_one_line(done)
    whole_or_absent(command, place, whole)
    same_files(command.finished(place), whole)


def slow(command: Command, folder: Path, milliseconds: int) -> Iterator[Outcome]:
    """The command where every sync and rename takes its time."""
    whole = command.finished(command.ready(folder / "whole"))
    place = command.ready(folder / "slow")
    prefix = _traced("fsync,rename", f"delay_enter={1000 * milliseconds}")
    yield outcome(lambda: _as_ever(command, place, command.run(place, *prefix), whole))


def _as_ever(command: Command, place: Path, done: Done, whole: Files) -> None:
    if done.returncode:
        raise Lost(f"a slow disk ended it: {done.stderr[-300:]}")
    same_files(command.found(place), whole)


def at_each_call(command: Command, folder: Path, call: str, most: int, chance: random.Random) -> Iterator[Outcome]:
    """SIGKILL just before the n-th of a system call: at each of them, or at `most` of them."""
    whole = command.finished(command.ready(folder / "whole"))
    counted = command.ready(folder / "counted")
    log = counted / "calls"
    command.run(counted, "strace", "-f", "--seccomp-bpf", "-o", log, "-e", f"trace={call}")
    number = sum(f"{call}(" in line for line in log.read_text(errors="replace").splitlines())
    for when in sorted(chance.sample(range(1, number + 1), min(most, number))):
        place = command.ready(folder / f"{call}-{when}")
        command.run(place, *_traced(call, f"signal=KILL:when={when}"))
        yield outcome(lambda place=place: _compared(command, place, whole))


def _compared(command: Command, place: Path, whole: Files) -> None:
    whole_or_absent(command, place, whole)
    same_files(command.finished(place), whole)


def has_strace() -> bool:
    """Whether system calls can be made to fail here."""
    return shutil.which("strace") is not None


def _traced(call: str, what: str) -> list[str]:
    return ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{what}"]


def _mounted(command: Command, place: Path, kilobytes: int) -> Path:
    place.mkdir(parents=True)
    _shell("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", place)
    command.prepare(place)
    return place


def _shell(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
