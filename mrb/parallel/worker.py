"""The worker process of a run: it builds the reranker, opens tasks, and scores the queries that it gets.

It writes no file. It ends on command or when its run ends in any way. The processes that the reranker started end with
it.
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

from mrb.errors import CandidatesError, MRBError
from mrb.evaluation.executor import InProcess, Score, in_process
from mrb.evaluation.failures import FailureBudget
from mrb.evaluation.plan import Entry, Plan, load_plan
from mrb.parallel.messages import Ask, Build, Close, Done, Failed, Message, Open, Packages, Raised, Work, portable

LOOK_SECONDS = 0.5
"""Seconds between checks that the run's process still exists."""


def main(handle: int, run: int) -> None:
    """Serve the run with process id `run` over the pipe with file descriptor `handle`, until either ends."""
    _end_with(run)
    if os.environ.get("MRB_TRACEBACK") == "1":
        faulthandler.enable()  # prints the traceback of a crash in native code
    with Connection(handle) as connection, contextlib.suppress(EOFError, ConnectionError):
        serve(Channel(connection))


class Channel:
    """The worker's end of the pipe. Sending is locked, because an adapter may take requests in its own thread."""

    def __init__(self, connection: Connection[object, object]) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        """Send a message to the run."""
        with self._sending:
            self._connection.send(message)

    def receive(self) -> object:
        """Return the next command or the answer to an `Ask`. Raises EOFError if the run has ended."""
        return self._connection.recv()


def serve(channel: Channel) -> None:
    """Execute commands until `Close`. An error is sent as `Raised` and ends the worker."""
    try:
        build = channel.receive()
        assert isinstance(build, Build)  # the first command
        with in_process(build.model, build.options) as reranker:
            channel.send(Done(reranker.info))
            worker = Worker(channel, reranker)
            while not isinstance(command := channel.receive(), Close):
                channel.send(Done(worker.obey(command)))
        channel.send(Done())
    except MRBError as error:
        channel.send(Raised(portable(error)))


class Worker:
    """A built reranker and the open task."""

    def __init__(self, channel: Channel, reranker: InProcess) -> None:
        self._channel = channel
        self._reranker = reranker
        self._opened: tuple[Plan, Score] | None = None

    def obey(self, command: object) -> object:
        """Execute one command and return the value of its `Done`."""
        if isinstance(command, Packages):
            return self._reranker.packages()
        if isinstance(command, Open):
            self._open(command)
        else:
            assert isinstance(command, Work)
            self._score(_Told(self._channel) if command.tolerant else None)
        return None

    def _open(self, command: Open) -> None:
        self._opened = None  # frees the last task's data before the next task is loaded
        plan = load_plan(command.spec)
        if plan.candidates.sha256 != command.candidates:
            raise CandidatesError(f"candidates of {plan.data.task.id}: the file was changed since the run began")
        self._opened = plan, self._reranker.open(command.spec, plan)

    def _score(self, allowance: FailureBudget | None) -> None:
        assert self._opened is not None
        plan, score = self._opened
        handed = -1
        while handed:
            stream = _Stream(self._channel, plan)
            for record in score(stream, allowance):
                self._channel.send(record)
            handed = stream.handed


class _Stream:
    """The entries from the run, requested as the adapter takes them; it ends at an empty answer."""

    def __init__(self, channel: Channel, plan: Plan) -> None:
        self._channel = channel
        self._plan = plan
        self.handed = 0

    def __iter__(self) -> Iterator[Entry]:
        while spans := self._asked():
            self.handed += len(spans)
            for query_id, first, end in spans:
                yield self._plan.entry(query_id).tail(first).head(end - first)

    def _asked(self) -> list[tuple[str, int, int]]:
        self._channel.send(Ask())
        spans = self._channel.receive()
        assert isinstance(spans, list)
        return spans


class _Told(FailureBudget):
    """Reports failed pairs to the run, which counts those of all workers and ends the workers if there are too many."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(allowed=0)
        self._channel = channel

    def spend(self, pairs: int, error: MRBError) -> None:
        """Report `pairs` pairs that failed with `error`."""
        self._channel.send(Failed(pairs, portable(error)))


def _end_with(run: int) -> None:
    """Kill this process's group once the run's process is gone. It leads its own group, which holds its children.

    The end of the pipe is not enough, because children that the adapter forks hold the pipe too.
    """

    def watch() -> None:
        while os.getppid() == run:
            time.sleep(LOOK_SECONDS)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="mrb-run-watch", daemon=True).start()
