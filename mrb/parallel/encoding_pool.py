"""Encode shards in several processes with one encoder and one GPU each. This process searches and writes the lists.

Messages are sent over a pipe between a worker and this process. A worker gets `Build`, then an `Encode` per search. It
asks for one shard after another until none is left, and writes each to disk itself. Images and vectors are never sent.
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
"""Seconds between checks of silent workers. A dead worker's child may hold its pipe open, so it gives no EOF."""
DEATH_SECONDS = 5.0
END_SECONDS = 10.0
_KEPT = "shards that were made are kept, the same command goes on"

Job = tuple[str, int]
"""(folder name, shard number)."""


@dataclass(frozen=True)
class Build:
    """Command: build the encoder `name`. The value of `Done` is a `Built`."""

    name: str
    options: Mapping[str, str]


@dataclass(frozen=True)
class Built:
    """The declarations of an encoder, which must be equal in all processes."""

    name: str
    identity: dict[str, Any]
    shard_rows: int
    needs_images: bool


@dataclass(frozen=True)
class Encode:
    """Command: ask for shards of this task's tables below `folder` and write them, until none is left.

    `allowed` items may fail.
    """

    task: Task
    folder: Path
    allowed: int = 0


@dataclass(frozen=True)
class Ask:
    """The worker asks for another shard; its last one is on disk. The answer is a `Job`, or None."""


@dataclass(frozen=True)
class Done:
    """The worker has finished the command."""

    value: object = None


@dataclass(frozen=True)
class Raised:
    """The command failed with an error that the user sees in one line."""

    error: MRBError


class Workers:
    """A `Maker` that encodes in several processes. An error or death of one is raised here and ends the others."""

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
        """Have the workers encode all missing shards of the tables."""
        jobs = missing(tables)  # if there are none, the workers still verify the stored shards
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
        """Raise AdapterError: `prepare` has written all shards, so a missing one was removed."""
        raise AdapterError(f"{shards.path(number)}: was removed while it was wanted; run the same command again")

    def close(self) -> None:
        """End the workers."""
        for process in self._processes:
            process.end()

    def _all(self, command: Build, doing: str) -> dict[_Process, Done]:
        return {process: said for process, said in self._said(command, doing) if isinstance(said, Done)}

    def _said(self, command: Build | Encode, doing: str) -> Iterator[tuple[_Process, Ask | Done | Raised]]:
        """Send a command to all workers and yield their messages until each is done. Raise the error of a worker."""
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
    """A started worker process. `doing` and `job` are its current activity, for the error if it dies."""

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
                    process_group=0,  # only the parent gets Ctrl-C, and killing the group ends the encoder's children
                )
            except OSError as error:
                raise AdapterError(f"{name} cannot be started: {error.strerror}") from error

    def send(self, message: Build | Encode | Job | None) -> None:
        """Send a message. Raises AdapterError if the process has died."""
        try:
            self.connection.send(message)
        except OSError:
            raise self.died() from None

    def receive(self) -> Ask | Done | Raised:
        """Return the next message. Raises AdapterError if the process has died."""
        try:
            message: Ask | Done | Raised = self.connection.recv()
        except (EOFError, OSError):
            raise self.died() from None
        return message

    def died(self) -> AdapterError:
        """Return the error that states how the process ended and its last activity."""
        try:
            how = _ending(self.process.wait(DEATH_SECONDS))
        except subprocess.TimeoutExpired:
            how = "closed its pipe"
        doing = self.doing + ("" if self.job is None else f", shard {self.job[1]} of {self.job[0]}")
        return AdapterError(f"{self.name} (process {self.process.pid}) {how} while {doing}; {_KEPT}")

    def end(self) -> None:
        """Close the pipe, so that an idle worker closes its encoder and ends; kill one that does not end."""
        self.connection.close()
        if self.job is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)
        if self.process.poll() != 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # its group has no process left
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _code() -> str:
    """Return the code that the new interpreter runs. A fork would break CUDA and threads.

    It has the import path of this process, which an adapter in a file or module needs; -P adds no folder before it.
    """
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
