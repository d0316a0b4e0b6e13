"""The worker process: it builds a job, executes the command's messages, and processes the work that it gets.

It ends on `Close`, or when its parent process ends in any way. The processes that its adapter started end with it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from mrb._util.terminal import hide_import_advice
from mrb.errors import MRBError
from mrb.evaluation import environment
from mrb.evaluation.failures import FailureBudget
from mrb.parallel.messages import (
    Answer,
    Ask,
    Built,
    Call,
    Close,
    Done,
    Failed,
    Job,
    JobSpec,
    Piece,
    Raised,
    Work,
    make_portable,
)

LOOK_SECONDS = 0.5
"""Seconds between checks that the parent process still exists."""


def main(handle: int, parent: int) -> None:
    """Serve the process with id `parent` over the pipe with file descriptor `handle`, until either ends."""
    _end_with(parent)
    hide_import_advice()
    if os.environ.get("MRB_TRACEBACK") == "1":
        faulthandler.enable()  # prints the traceback of a crash in native code
    with Connection(handle) as connection, contextlib.suppress(EOFError, ConnectionError):
        serve(Channel(connection))


class Channel:
    """The worker's end of the pipe. Sending is locked, because an adapter may take requests in its own thread."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: object) -> None:
        """Send a message to the command."""
        with self._sending:
            self._connection.send(message)

    def receive(self) -> Any:
        """Return the next command or the answer to an `Ask`. Raises EOFError if the command has ended."""
        return self._connection.recv()


def serve(channel: Channel) -> None:
    """Execute commands until `Close`. An error is sent as `Raised` and ends the worker."""
    try:
        spec = channel.receive()
        assert isinstance(spec, JobSpec)  # the first command
        with spec.start() as job:
            channel.send(Done(Built(job.info, environment.list_packages())))
            while not isinstance(command := channel.receive(), Close):
                channel.send(Done(_execute(job, command, channel)))
        channel.send(Done())
    except MRBError as error:
        channel.send(Raised(make_portable(error)))


def _execute(job: Job, command: Call | Work, channel: Channel) -> object:
    if isinstance(command, Call):
        return getattr(job, command.method)(*command.arguments)
    budget = _ReportingBudget(channel) if command.tolerant else None
    received = -1
    while received:  # an adapter may end its stream at an empty answer, and be given more work afterwards
        stream = _WorkStream(channel)
        for key, value in job.process(stream, budget):
            channel.send(Answer(key, value))
        received = stream.received
    return None


class _WorkStream:
    """The pieces of work from the command, requested as the job takes them; it ends at an empty answer."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.received = 0

    def __iter__(self) -> Iterator[Piece]:
        while pieces := self._ask():
            self.received += len(pieces)
            yield from pieces

    def _ask(self) -> list[Piece]:
        self._channel.send(Ask())
        pieces: list[Piece] = self._channel.receive()
        return pieces


class _ReportingBudget(FailureBudget):
    """Reports failures to the command, which counts those of all workers and ends them if there are too many."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(allowed=0)
        self._channel = channel

    def spend(self, pairs: int, error: MRBError) -> None:
        """Report `pairs` pairs that failed with `error`."""
        self._channel.send(Failed(pairs, make_portable(error)))


def _end_with(parent: int) -> None:
    """Kill this process's group once the parent is gone. It leads its own group, which holds its children.

    The end of the pipe is not enough: children that the adapter forks hold the pipe too, and the pipe is read only
    between pieces of work.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="mrb-parent-watch", daemon=True).start()
