"""Start one worker process, exchange messages with it, and describe its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe, connection
from typing import Any

from mrb.errors import AdapterError
from mrb.parallel.messages import Lost
from mrb.parallel.resources import list_visible_gpus, make_worker_environment

LOOK_SECONDS = 1.0
"""Seconds between checks of silent workers. A dead worker's child may hold its pipe open, so it gives no EOF."""
DEATH_SECONDS = 5.0
"""Seconds that a process may take to end after its pipe has closed."""
END_SECONDS = 10.0
"""Seconds that a process may take to end after it has closed its job."""


class WorkerProcess:
    """A started worker process."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self._ended = False
        self.connection, theirs = Pipe()
        with theirs:
            try:
                self.process = subprocess.Popen(  # noqa: S603  (this interpreter, our own module)
                    [sys.executable, "-P", "-c", _make_worker_code(), str(theirs.fileno()), str(os.getpid())],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # only the command gets Ctrl-C, and killing the group ends the adapter's children
                )
            except OSError as error:
                raise AdapterError(f"{name} cannot be started: {error.strerror}") from error

    def send(self, message: object) -> None:
        """Send a message. If the process has died, `receive` reports that."""
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def receive(self) -> list[Any]:
        """Return the messages that have arrived; the last is `Lost` if the pipe has closed."""
        messages: list[Any] = []
        try:
            while self.connection.poll():
                messages.append(self.connection.recv())
        except (EOFError, OSError):
            messages.append(self._make_loss())
        return messages

    def look(self) -> list[Any]:
        """Return the last messages of a silent process if it has died; an empty list if it lives."""
        if self.process.poll() is None:
            return []
        return self.receive() or [self._make_loss()]

    def has_message(self) -> bool:
        """Return whether a message has arrived that `receive` has not returned."""
        return self.connection.poll()

    def wait(self) -> None:
        """Wait until the process ends after closing its job; after END_SECONDS it is left to `kill`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._ended = self.process.wait(END_SECONDS) == 0

    def kill(self) -> None:
        """Kill the process and its children, unless it has ended with exit code 0 by itself."""
        if not self._ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # its group has no process left
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.connection.close()

    def _make_loss(self) -> Lost:
        """Wait briefly for the end of the process and describe it."""
        try:
            how = _describe_exit(self.process.wait(DEATH_SECONDS))
        except subprocess.TimeoutExpired:
            how = "closed its pipe"
        return Lost(f"(process {self.process.pid}) {how}")


class LocalWorkers:
    """A transport of `mrb.parallel.pool`: `count` processes on this machine, each with one GPU. None is replaced.

    Raises AdapterError if the system is neither Linux nor macOS.
    """

    replaces_lost = False

    def __init__(self, count: int) -> None:
        if os.name != "posix":
            raise AdapterError("several workers need Linux or macOS; omit --workers")
        self.count = count
        self._gpus = list_visible_gpus()

    def start(self, number: int) -> WorkerProcess:
        """Start worker `number` (from 0)."""
        environment = make_worker_environment(number, self.count, self._gpus)
        return WorkerProcess(f"worker {number + 1} of {self.count}", environment)

    def receive(self, processes: Sequence[WorkerProcess]) -> list[tuple[WorkerProcess, list[Any]]]:
        """Wait briefly and return the messages of those processes that have sent some."""
        ready = connection.wait([process.connection for process in processes], LOOK_SECONDS)
        if not ready:
            return [(process, messages) for process in processes if (messages := process.look())]
        return [(process, process.receive()) for process in processes if process.connection in ready]


def _make_worker_code() -> str:
    """Return the code that the new interpreter runs. A fork would break CUDA and threads.

    It has the import path of this process, which an adapter in a file or module needs; -P adds no folder before it.
    """
    folders = [str(folder) for folder in sys.path]
    start = "from mrb.parallel.worker import main; main(*map(int, sys.argv[1:]))"
    return f"import sys; sys.path[:] = {folders!r}; {start}"


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (perhaps for want of memory)" if -code == signal.SIGKILL else "")
