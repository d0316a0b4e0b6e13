"""One worker process as its run sees it: started, spoken to, and what is said of it when it dies."""

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
"""How long a process whose pipe has closed may take to end."""
END_SECONDS = 10.0
"""How long one that has closed its reranker may take to end by itself."""
KEPT = "what was scored before is kept, the same command goes on"


class WorkerProcess:
    """A started worker. `doing` and `in_hand` (query ids, in order) say in what it is if it dies, `heard` since when
    it has said nothing (`time.monotonic`)."""

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
        return AdapterError(f"{self.name} {self.ending()} while {doing_what(self.doing, self.in_hand)}; {KEPT}")

    def late(self, seconds: float) -> AdapterError:
        """The error of a worker that has given no answer for so long."""
        doing = doing_what(self.doing, self.in_hand)
        return AdapterError(f"{self.name} (process {self.process.pid}) {silent(seconds)} while {doing}; {KEPT}")

    def ending(self) -> str:
        """How the process ended, with its id, as the end of "worker 1 ..."; it is given a moment to end."""
        try:
            how = _ending(self.process.wait(DEATH_SECONDS))
        except subprocess.TimeoutExpired:
            how = "closed its pipe to the run"
        return f"(process {self.process.pid}) {how}"

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


def silent(seconds: float) -> str:
    """What is said of a worker that was given `--timeout` and kept silent."""
    return f"gave no answer for {seconds:g} seconds (--timeout)"


def doing_what(doing: str, in_hand: Mapping[str, object]) -> str:
    """What a worker was doing, with the query that it has had in hand for longest."""
    if not in_hand:
        return doing
    first, *others = in_hand
    return f"{doing}, query {first!r}" + (f" and {len(others)} more in hand" if others else "")


def _code(serve: str) -> str:
    """What the new interpreter runs. No fork: CUDA and threads do not survive one. It imports from where this process
    does, as an adapter in a file or module needs, and from nowhere else first (-P)."""
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
