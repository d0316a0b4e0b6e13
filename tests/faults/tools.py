"""What the faults have in common: starting `mrb`, what a good end is, and the rows of the table."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 300.0
"""Seconds that a command may take on a busy machine before it counts as hanging."""

Done = subprocess.CompletedProcess[str]
Outcome = str | None
"""What became of one trial: None if the fault was survived and nothing was lost, else what went wrong."""


class Lost(Exception):  # noqa: N818  (what was lost, not what is wrong)
    """A fault was not survived, or something was lost; says what."""


@dataclass(frozen=True)
class Fault:
    """A row of the table. `trials` makes its trials in a new folder; each either returns or raises `Lost`."""

    name: str
    trials: Callable[[Path], Iterator[Outcome]]


@dataclass
class Row:
    """How often a fault was tried and survived, and what was lost."""

    fault: str
    tried: int
    problems: list[str]

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The row as text."""
        lost = "; ".join(dict.fromkeys(self.problems)) or "nothing"
        return self.fault, str(self.tried), str(self.tried - len(self.problems)), lost


def tried(fault: Fault, folder: Path) -> Row:
    """Do the trials of a fault."""
    row = Row(fault.name, 0, [])
    for outcome in fault.trials(folder):
        row.tried += 1
        if outcome is not None:
            row.problems.append(outcome)
    return row


def outcome(trial: Callable[[], object]) -> Outcome:
    """Do one trial."""
    try:
        trial()
    except Lost as lost:
        return str(lost)
    return None


def _interruptible() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(folder: Path, arguments: Sequence[object], variables: Mapping[str, str] | None = None) -> subprocess.Popen:
    """A command that runs in `folder`, in a process group of its own."""
    return subprocess.Popen(
        [str(argument) for argument in arguments],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        # A shell that starts something in the background has it ignore Ctrl-C, and so all that it starts.
        preexec_fn=_interruptible,
    )


def ended(process: subprocess.Popen) -> Done:
    """Wait for the end of a command."""
    try:
        told, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise Lost(f"still running after {PATIENCE:.0f} s") from None
    return subprocess.CompletedProcess(process.args, process.returncode, told, errors)


def refused_in_one_line(done: Done) -> str:
    """The line with which a command that failed has ended; Lost if it ended in any other way."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("mrb: ")]
    if done.returncode != 2 or len(lines) != 1 or "Traceback" in done.stderr:
        raise Lost(f"ended with {done.returncode}: {done.stderr[-300:].strip()}")
    return lines[0]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen | None = None) -> None:
    """Until the condition holds or the process has ended; Lost if neither happens."""
    end = time.monotonic() + PATIENCE
    while not condition() and (process is None or process.poll() is None):
        if time.monotonic() > end:
            raise Lost("waited for too long")
        time.sleep(0.002)
