"""Start one worker process, exchange messages with it, and describe its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe

from mrb.errors import AdapterError
from mrb.parallel.messages import Command, Message, Span

SERVE = "mrb.parallel.worker"
"""The module whose `main(handle, parent)` a worker process runs."""
DEATH_SECONDS = 5.0
"""Seconds that a process may take to end after its pipe has closed."""
END_SECONDS = 10.0
"""Seconds that a process may take to end after it has closed its reranker."""
KEPT = "what was scored before is kept, the same command goes on"


class WorkerProcess:
    """A started worker process.

    `doing` and `in_hand` (ids of its queries, in order) are its current activity, for the error if it dies. `heard` is
    the time of its last message (`time.monotonic`).
    """

    def __init__(self, name: str, environment: Mapping[str, str], serve: str = SERVE) -> None:
        self.name = name
        self.doing = "building the reranker"
        self.in_hand: dict[str, None] = {}
        self.heard = time.monotonic()
        self._ended = False
        self.connection, theirs = Pipe()
        with theirs:
            try:
                self.process = subprocess.Popen(  # noqa: S603  (this interpreter, our own module)
                    [sys.executable, "-P", "-c", _code(serve), str(theirs.fileno()), str(os.getpid())],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # only the run gets Ctrl-C, and killing the group ends the adapter's children
                )
            except OSError as error:
                raise AdapterError(f"{name} cannot be started: {error.strerror}") from error

    def send(self, message: Command | Sequence[Span]) -> None:
        """Send a message. Raises AdapterError if the process has died."""
        try:
            self.connection.send(message)
        except OSError:
            raise self.died() from None

    def receive(self) -> Message:
        """Return the next message. Raises AdapterError if the process has died."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            raise self.died() from None
        return message

    def died(self) -> AdapterError:
        """Return the error that states how the process ended and its last activity."""
        return AdapterError(f"{self.name} {self.ending()} while {doing_what(self.doing, self.in_hand)}; {KEPT}")

    def late(self, seconds: float) -> AdapterError:
        """Return the error for a worker that was silent for `seconds`."""
        doing = doing_what(self.doing, self.in_hand)
        return AdapterError(f"{self.name} (process {self.process.pid}) {silent(seconds)} while {doing}; {KEPT}")

    def ending(self) -> str:
        """Wait briefly for the end and describe it, with the process id, as the rest of a sentence "worker 1 ..."."""
        try:
            how = _ending(self.process.wait(DEATH_SECONDS))
        except subprocess.TimeoutExpired:
            how = "closed its pipe to the run"
        return f"(process {self.process.pid}) {how}"

    def wait(self) -> None:
        """Wait until the process ends after closing its reranker; after END_SECONDS it is left to `kill`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._ended = self.process.wait(END_SECONDS) == 0

    def kill(self) -> None:
        """Kill the process and its children, unless it has ended with exit code 0 by itself."""
        if not self._ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # its group has no process left
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.connection.close()


def silent(seconds: float) -> str:
    """Describe a worker that exceeded `--timeout`."""
    return f"gave no answer for {seconds:g} seconds (--timeout)"


def doing_what(doing: str, in_hand: Mapping[str, object]) -> str:
    """Describe a worker's activity, with the query that it has held longest."""
    if not in_hand:
        return doing
    first, *others = in_hand
    return f"{doing}, query {first!r}" + (f" and {len(others)} more in hand" if others else "")


def _code(serve: str) -> str:
    """Return the code that the new interpreter runs. A fork would break CUDA and threads.

    It has the import path of this process, which an adapter in a file or module needs; -P adds no folder before it.
    """
    folders = [str(folder) for folder in sys.path]
    return f"import sys; sys.path[:] = {folders!r}; from {serve} import main; main(int(sys.argv[1]), int(sys.argv[2]))"


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (perhaps for want of memory)" if -code == signal.SIGKILL else "")
