"""Shards made by several processes, one encoder and one GPU each. This process searches and writes lists.

Messages pass over a pipe that a worker and this process alone hold. A worker gets `Build`, then an `Encode` a search,
and asks for one shard after another until there are none; it writes each to disk itself. Images and vectors never pass.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe, connection
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mrb.data.task import Task
from mrb.data.task_data import TaskData
from mrb.errors import AdapterError, MRBError
from mrb.parallel.resources import visible_gpus, worker_environment
from mrb.retrieval.shards import Shards, missing

LOOK_SECONDS = 1.0
"""How often silent workers are looked at: a child of one that died may hold its pipe open."""
DEATH_SECONDS = 5.0
END_SECONDS = 10.0
_KEPT = "shards that were made are kept, the same command goes on"

Job = tuple[str, int]
"""The name of a folder of shards, and the number of a shard."""


@dataclass(frozen=True)
class Build:
    """Build the encoder `name`. Done has a `Built`."""

    name: str
    options: Mapping[str, str]


@dataclass(frozen=True)
class Built:
    """What an encoder says of itself, the same in every process."""

    name: str
    identity: dict[str, Any]
    shard_rows: int
    needs_images: bool


@dataclass(frozen=True)
class Encode:
    """Ask for shards of this task's tables below `folder` and make them, until there are none left.

    `allowed` items may fail.
    """

    task: Task
    folder: Path
    allowed: int = 0


@dataclass(frozen=True)
class Ask:
    """Another shard, please; the one before is on disk. The answer is a `Job`, or None."""


@dataclass(frozen=True)
class Done:
    """What was told is done."""

    value: object = None


@dataclass(frozen=True)
class Raised:
    """It ended in a mistake that the user is told of in one line."""

    error: MRBError


class Workers:
    """The `Maker` of several processes. A mistake in one, or its death, is raised here and ends the others."""

    def __init__(self, name: str, options: Mapping[str, str], workers: int) -> None:
        if os.name != "posix":
            raise AdapterError("several workers need Linux or macOS; leave --workers out")
        gpus = visible_gpus()
        self.allowed = 0
        self._processes: list[_Process] = []
        try:
            for number in range(workers):
                environment = worker_environment(number, workers, gpus)
                self._processes.append(_Process(f"worker {number + 1} of {workers}", environment))
            built = [done.value for done in self._all(Build(name, options), "building the encoder").values()]
        except BaseException:
            self.close()
            raise
        first = built[0]
        assert isinstance(first, Built)
        if any(other != first for other in built):
            self.close()
            raise AdapterError(f"{name}: what the encoder says of itself depends on the process it is built in")
        self.name, self.identity, self.shard_rows = first.name, first.identity, first.shard_rows
        self.needs_images = first.needs_images

    def prepare(self, data: TaskData, tables: Sequence[Shards]) -> None:
        """Have all that is missing of the tables made."""
        jobs = missing(tables)  # where there are none, the workers still check what is kept
        rows = {shards.folder.name: shards for shards in tables}
        left = iter(jobs)
        total = sum(len(rows[folder].part(number)) for folder, number in jobs)
        doing = f"encoding task {data.task.id}"
        with tqdm(total=total, desc="encoding", unit="item", disable=None, leave=False) as bar:
            for process, message in self._said(Encode(data.task, tables[0].root, self.allowed), doing):
                if isinstance(message, Ask):
                    if process.job is not None:
                        bar.update(len(rows[process.job[0]].part(process.job[1])))
                    process.job = next(left, None)
                    process.send(process.job)

    def make(self, shards: Shards, number: int, made: Callable[[int], object]) -> None:
        """Never: `prepare` has had all made."""
        raise AdapterError(f"{shards.path(number)}: was removed while it was wanted; run the same command again")

    def close(self) -> None:
        """End the workers."""
        for process in self._processes:
            process.end()

    def _all(self, command: Build, doing: str) -> dict[_Process, Done]:
        return {process: said for process, said in self._said(command, doing) if isinstance(said, Done)}

    def _said(self, command: Build | Encode, doing: str) -> Iterator[tuple[_Process, Ask | Done | Raised]]:
        """Give all workers a command and pass on what they say until each is done; what one raised is raised here."""
        for process in self._processes:
            process.doing = doing
            process.send(command)
        busy = list(self._processes)
        while busy:
            ready = connection.wait([process.connection for process in busy], LOOK_SECONDS)
            for process in [process for process in busy if process.connection in ready]:
                message = process.receive()
                if isinstance(message, Raised):
                    raise message.error
                if isinstance(message, Done):
                    busy.remove(process)
                yield process, message
            dead = [process for process in busy if not ready and process.process.poll() is not None]
            if dead:
                raise dead[0].died()


class _Process:
    """A started worker. `doing` and `job` say in what it is if it dies."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self.doing = ""
        self.job: Job | None = None
        self.connection, theirs = Pipe()
        with theirs:
            try:
                self.process = subprocess.Popen(  # noqa: S603  (this interpreter, our own module)
                    [sys.executable, "-P", "-c", _code(), str(theirs.fileno()), str(os.getpid())],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # Ctrl-C is this process's to handle, and what the encoder starts ends with it
                )
            except OSError as error:
                raise AdapterError(f"{name} cannot be started: {error.strerror}") from error

    def send(self, message: Build | Encode | Job | None) -> None:
        """Say `message`; AdapterError if the process has died."""
        try:
            self.connection.send(message)
        except OSError:
            raise self.died() from None

    def receive(self) -> Ask | Done | Raised:
        """What it says next; AdapterError if the process has died."""
        try:
            message: Ask | Done | Raised = self.connection.recv()
        except (EOFError, OSError):
            raise self.died() from None
        return message

    def died(self) -> AdapterError:
        """The error that says how the process ended and what it was doing."""
        try:
            how = _ending(self.process.wait(DEATH_SECONDS))
        except subprocess.TimeoutExpired:
            how = "closed its pipe"
        doing = self.doing + ("" if self.job is None else f", shard {self.job[1]} of {self.job[0]}")
        return AdapterError(f"{self.name} (process {self.process.pid}) {how} while {doing}; {_KEPT}")

    def end(self) -> None:
        """Close the pipe, at which a worker that waits closes its encoder and ends; end by force one that does not."""
        self.connection.close()
        if self.job is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)
        if self.process.poll() != 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left of its group
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _code() -> str:
    """What the new interpreter runs. No fork: CUDA and threads do not survive one. It imports from where this process
    does, as an adapter in a file or module needs, and from nowhere else first (-P)."""
    start = "from mrb.parallel.encoding_worker import main; main(*map(int, sys.argv[1:]))"
    return f"import sys; sys.path[:] = {sys.path!r}; {start}"


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (perhaps for want of memory)" if -code == signal.SIGKILL else "")
