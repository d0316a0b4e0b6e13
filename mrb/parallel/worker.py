"""A worker process: builds the reranker, opens what it is told to, and scores the queries that it is handed.

It writes no file. It ends when it is told to, when its run ends in any way, and with the processes that the reranker
has started itself.
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
from mrb.evaluation.failures import Allowance
from mrb.evaluation.plan import Entry, Plan
from mrb.evaluation.task_spec import open_plan
from mrb.parallel.messages import Ask, Build, Close, Done, Failed, Message, Open, Packages, Raised, Work, portable

LOOK_SECONDS = 0.5
"""How often a worker looks whether its run is still there."""


def main(handle: int, run: int) -> None:
    """Serve the run of process id `run` over the pipe of file descriptor `handle`, until either ends."""
    _end_with(run)
    if os.environ.get("MRB_TRACEBACK") == "1":
        faulthandler.enable()  # a crash in native code then says where
    with Connection(handle) as connection, contextlib.suppress(EOFError, ConnectionError):
        serve(Channel(connection))


class Channel:
    """The worker's end of the pipe. An adapter may take requests in a thread of its own: one message at a time."""

    def __init__(self, connection: Connection[object, object]) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        """Say `message` to the run."""
        with self._sending:
            self._connection.send(message)

    def receive(self) -> object:
        """The next command, or the answer to an `Ask`; EOFError once the run has gone."""
        return self._connection.recv()


def serve(channel: Channel) -> None:
    """Carry out commands until `Close`; a mistake is told, and ends the worker."""
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
    """A reranker that is built, and the task that is open."""

    def __init__(self, channel: Channel, reranker: InProcess) -> None:
        self._channel = channel
        self._reranker = reranker
        self._opened: tuple[Plan, Score] | None = None

    def obey(self, command: object) -> object:
        """Carry out one command; what its `Done` holds."""
        if isinstance(command, Packages):
            return self._reranker.packages()
        if isinstance(command, Open):
            self._open(command)
        else:
            assert isinstance(command, Work)
            self._score(_Told(self._channel) if command.tolerant else None)
        return None

    def _open(self, command: Open) -> None:
        self._opened = None  # the last task's data need not be held while the next one's is read
        plan = open_plan(command.choice)
        if plan.candidates.sha256 != command.candidates:
            raise CandidatesError(f"candidates of {plan.data.task.id}: the file was changed since the run began")
        self._opened = plan, self._reranker.open(command.choice, plan)

    def _score(self, allowance: Allowance | None) -> None:
        assert self._opened is not None
        plan, score = self._opened
        handed = -1
        while handed:
            stream = _Stream(self._channel, plan)
            for record in score(stream, allowance):
                self._channel.send(record)
            handed = stream.handed


class _Stream:
    """The entries that the run hands out, asked for as the adapter takes them; ends at an empty answer."""

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


class _Told(Allowance):
    """Tells the run of pairs that fail: it counts those of all workers, and ends them when there are too many."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(allowed=0)
        self._channel = channel

    def spend(self, pairs: int, error: MRBError) -> None:
        """Tell of `pairs` that failed with `error`."""
        self._channel.send(Failed(pairs, portable(error)))


def _end_with(run: int) -> None:
    """End this process and all that it has started once the run's process is gone, whatever is going on then.

    A pipe's end would not do: children that the adapter forks hold it too. The process has a group of its own.
    """

    def watch() -> None:
        while os.getppid() == run:
            time.sleep(LOOK_SECONDS)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="mrb-run-watch", daemon=True).start()
