"""One worker process as its run sees it: started, spoken to, and what is said of it when it dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe

from mrb.errors import AdapterError
from mrb.workers.messages import Command, Message, Span

DEATH_SECONDS = 5.0
"""How long a process whose pipe has closed may take to end."""
END_SECONDS = 10.0
"""How long one that has closed its reranker may take to end by itself."""
_KEPT = "what was scored before is kept, the same command goes on"


class WorkerProcess:
    """A started worker. `doing` and `in_hand` (query ids, in order) say in what it is if it dies."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self.doing = "building the reranker"
        self.in_hand: dict[str, None] = {}
        self._ended = False
        self.connection, theirs = Pipe()
        with theirs:
            try:
                self.process = subprocess.Popen(  # noqa: S603  (this interpreter, our own module)
                    [sys.executable, "-P", "-c", _code(), str(theirs.fileno()), str(os.getpid())],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # Ctrl-C is the run's to handle, and what the adapter starts can be ended with it
                )
            except OSError as error:
                raise AdapterError(f"{name} cannot be started: {error.strerror}") from error

    def send(self, message: Command | Sequence[Span]) -> None:
        """Say `message`; AdapterError if the process has died."""
        try:
            self.connection.send(message)
        except OSError:
            raise self.died() from None

    def receive(self) -> Message:
        """What it says next; AdapterError if the process has died."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            raise self.died() from None
        return message

    def died(self) -> AdapterError:
        """The error that says how the process ended and what it was doing."""
        try:
            how = _ending(self.process.wait(DEATH_SECONDS))
        except subprocess.TimeoutExpired:
            how = "closed its pipe to the run"
        doing = self.doing
        if self.in_hand:
            first, *others = self.in_hand
            doing += f", query {first!r}" + (f" and {len(others)} more in hand" if others else "")
        return AdapterError(f"{self.name} (process {self.process.pid}) {how} while {doing}; {_KEPT}")

    def wait(self) -> None:
        """Let the process end by itself, now that its reranker is closed; one that takes too long is left to `kill`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._ended = self.process.wait(END_SECONDS) == 0

    def kill(self) -> None:
        """End the process and all that it has started, unless it has ended well by itself."""
        if not self._ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left of its group
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.connection.close()


def _code() -> str:
    """What the new interpreter runs. No fork: CUDA and threads do not survive one. It imports from where this process
    does, as an adapter in a file or module needs, and from nowhere else first (-P)."""
    folders = [str(folder) for folder in sys.path]
    serve = "from mrb.workers.worker import main; main(int(sys.argv[1]), int(sys.argv[2]))"
    return f"import sys; sys.path[:] = {folders!r}; {serve}"


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (perhaps for want of memory)" if -code == signal.SIGKILL else "")
