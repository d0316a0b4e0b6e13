"""Adapters that hang, crash, eat the memory, print rubbish, or say something else each time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.builders.command import MRB
from tests.faults.commands import ADAPTER, TASK, Command, Files, run_command, same_files
from tests.faults.tools import Lost, Outcome, ended, outcome, refused_in_one_line, started, wait_until

AT = 40
"""The query at which the adapter goes wrong, if the variable WRONG says how."""
WRONG = """
import ctypes, os, resource, sys, time

asked = 0
held = []

def wrong():
    global asked
    asked += 1
    how = os.environ.get("WRONG")
    if how == "print":
        os.write(1, b"\\x00\\xff\\x1b[2J{{garbage}}\\n" * 50)
        print("mrb: \\u202e", file=sys.stderr)
    if how == "leak":
        if not held:
            resource.setrlimit(resource.RLIMIT_AS, (size() + (300 << 20), -1))
        held.append(bytearray(8 << 20))
    if asked != WHEN:
        return
    if how == "hang":
        time.sleep(3600)
    if how == "hang in native code":
        ctypes.CDLL(None).pause()
    if how == "segfault":
        ctypes.string_at(0)
    if how == "exit":
        os._exit(0)
    if how == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (size() + (64 << 20), -1))
        held.append(bytearray(1 << 30))
    if how == "close":
        os.close(1)

def size():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
""".replace("WHEN", str(AT))
ASKED = "        time.sleep("
REFUSED = ("memory", "leak")
KILLED = ("segfault", "exit")


def odd_command(*options: str) -> Command:
    """`mrb run` with the adapter that can be told to go wrong; without the variable it does not."""
    text = WRONG + ADAPTER.replace(ASKED, "        wrong()\n" + ASKED, 1)
    command = run_command(*options)
    return Command(
        command.name, command.arguments, command.finals, command.kept, lambda place: _write(place / "words.py", text)
    )


def wrong_once(how: str, workers: bool, folder: Path) -> Iterator[Outcome]:
    """One trial: the adapter goes wrong, then the same command with one that does not."""
    command = odd_command(*(("--workers", "2") if workers else ()))
    whole = command.finished(command.ready(folder / "whole"))
    yield outcome(lambda: _trial(command, command.ready(folder / "wrong"), how, workers, whole))


def _trial(command: Command, place: Path, how: str, workers: bool, whole: Files) -> None:
    process = command.start(place, WRONG=how)
    if how.startswith("hang"):
        held = (AT - 1) * (2 if workers else 1)
        wait_until(lambda: command.kept(place) >= held, process)
        os.kill(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal
    done = ended(process)
    if how.startswith("hang") and done.returncode != 130:
        raise Lost(f"Ctrl-C ended it with {done.returncode}: {done.stderr[-300:]}")
    if how == "print" and done.returncode:
        raise Lost(f"what an adapter prints ended the run: {done.stderr[-300:]}")
    if how in REFUSED or (workers and how in KILLED):
        refused_in_one_line(done)
    if how != "print" and how != "close" and command.kept(place) < 10:
        raise Lost(f"only {command.kept(place)} queries were kept")
    same_files(command.finished(place), whole)


def changing_scores(folder: Path) -> Iterator[Outcome]:
    """An adapter of random scores, killed: every number of the end comes from one call, and the result from them."""
    command = run_command()
    place = command.ready(folder)
    lines = "import random" + ADAPTER.replace("return [len(", "return [random.random() * len(")
    (place / "words.py").write_text(lines.replace("    batch_invariant = True\n", ""))
    yield outcome(lambda: _recomputed(command, place))


def _recomputed(command: Command, place: Path) -> None:
    process = command.start(place)
    wait_until(lambda: command.kept(place) > 20, process)
    os.killpg(process.pid, signal.SIGKILL)
    ended(process)
    command.finished(place)
    done = ended(started(place, [MRB, "recompute", "runs/words"], command.environment(place)))
    if done.returncode or TASK not in done.stdout:
        raise Lost(f"the journal gives other numbers than the result: {done.stdout[-200:]}{done.stderr[-200:]}")


def trials(folder: Path, hows: list[tuple[str, bool]]) -> Iterator[Outcome]:
    """Several of these, each in its own folder."""
    makers: list[Callable[[Path], Iterator[Outcome]]] = [partial(wrong_once, how, workers) for how, workers in hows]
    for number, maker in enumerate(makers):
        yield from maker(folder / str(number))


def _write(path: Path, text: str) -> None:
    path.write_text(text)
