"""Workers of one job: start them, lead each through its commands, hand out work, and react to lost workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from mrb.errors import AdapterError
from mrb.parallel.messages import (
    Answer,
    Ask,
    Built,
    Call,
    Close,
    Command,
    Done,
    Failed,
    JobSpec,
    Lost,
    Piece,
    Raised,
    Work,
)
from mrb.parallel.work_queue import InHand, WorkQueue

logger = logging.getLogger(__name__)

MAX_UNUSED = 3
"""Number of workers in a row that end without having done anything, after which the command gives up."""
MAX_ALONE = 2
"""Number of workers lost with the same single piece of work in hand, after which that piece counts as the cause."""
CLOSED = "closed"
"""The activity of a worker that has closed its job and whose process ends."""

GiveUp = Callable[[Piece, AdapterError], Any]
"""Returns the result of a piece that ends workers, or raises the error."""


class Link(Protocol):
    """The connection to one worker, with the worker's name."""

    name: str

    def send(self, message: object) -> None:
        """Send a message, which a dead worker does not get."""
        ...

    def has_message(self) -> bool:
        """Return whether a message of the worker is unread."""
        ...

    def wait(self) -> None:
        """Wait until the worker, which has closed its job, ends."""
        ...

    def kill(self) -> None:
        """End the worker, whatever it is doing."""
        ...


class Transport(Protocol):
    """Starts workers and receives their messages: on this machine or on a Ray cluster."""

    @property
    def replaces_lost(self) -> bool:
        """If true, a lost worker is replaced, others may join later, and nobody waits for all. Otherwise a loss ends
        the command."""
        ...

    @property
    def count(self) -> int:
        """The wanted number of workers, which may change."""
        ...

    def start(self, number: int) -> Any:
        """Start worker `number` (from 0) and return its link."""
        ...

    def receive(self, links: Sequence[Any]) -> list[tuple[Any, list[Any]]]:
        """Wait briefly and return (link, messages) of those that have sent some; `Lost` is the last of a worker."""
        ...


Connect = Callable[[], AbstractContextManager[Transport]]
"""Opens a transport for the duration of a block."""


@dataclass(eq=False)
class WorkerHandle:
    """The command's view of a worker: its current command, its activity in words, its task and its unanswered work.

    `heard` is the time (`time.monotonic`) of its last message or command, `value` the result of its last command.
    """

    link: Link
    command: Command | None = None
    doing: str = ""
    task: Any = None
    value: Any = None
    in_hand: InHand = field(default_factory=dict)
    heard: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """The worker's name in messages to the user."""
        return self.link.name

    def send(self, command: Command, doing: str) -> None:
        """Send a command; `doing` names the activity until its `Done`."""
        self.command, self.doing, self.heard = command, doing, time.monotonic()
        self.link.send(command)

    def describe(self, unit: str) -> str:
        """Describe the activity, with the piece of work that the worker has held longest."""
        if not self.in_hand:
            return self.doing or "waiting"
        first, *others = self.in_hand
        return f"{self.doing}, {unit} {first!r}" + (f" and {len(others)} more in hand" if others else "")


@contextmanager
def open_pool(connect: Connect, job: JobSpec, timeout: float | None = None) -> Iterator[WorkerPool]:
    """Start the workers of a job, and end them after the block.

    Args:
        connect: Opens the transport.
        job: What the workers build.
        timeout: Seconds of silence after which a worker with work in hand counts as lost; None for no limit.

    Raises:
        AdapterError: The job cannot be built, or its declarations differ between workers.
    """
    with connect() as transport:
        pool = WorkerPool(transport, job, timeout)
        try:
            pool.build()
            yield pool
            pool.close()
        finally:
            pool.kill()


class WorkerPool:
    """The workers of one job. The error of a worker is raised by the method that waits for it."""

    def __init__(self, transport: Transport, job: JobSpec, timeout: float | None = None) -> None:
        self.workers: list[WorkerHandle] = []
        self.info: Any = None
        self._transport = transport
        self._job = job
        self._timeout = timeout
        self._started = 0
        self._starts = True
        self._unused = 0
        self._packages: dict[str, str] = {}
        self._task: Any = None
        self._task_id = ""
        self._queue: WorkQueue | None = None
        self._give_up: GiveUp | None = None

    @property
    def count(self) -> int:
        """The wanted number of workers."""
        return self._transport.count

    def build(self) -> None:
        """Start the workers and build the job in each."""
        self._wait(lambda worker: worker.value is not None)

    def open(self, task: Any, task_id: str) -> None:
        """Load the data of a task in the workers. `task` is what `Job.open` gets; nothing happens if it is open."""
        self._task, self._task_id = task, task_id
        self._wait(lambda worker: worker.task == task)

    def call(self, method: str, *arguments: Any) -> Any:
        """Have one worker with the open task call a method of its job, and return the result."""
        call = Call(method, arguments)
        while True:
            idle = [worker for worker in self.workers if not worker.doing and worker.task == self._task]
            if idle:
                idle[0].send(call, f"calling {method!r}")
                while idle[0].command is call and idle[0] in self.workers:
                    self._round()
                if idle[0] in self.workers:
                    return idle[0].value
            self._round()

    def run(self, queue: WorkQueue, give_up: GiveUp | None = None) -> Iterator[tuple[WorkerHandle, Answer]]:
        """Yield the answers to all pieces of the queue with the worker of each, and wait until the workers are done.

        `give_up` decides on a piece that ends workers; its error is raised if None.
        """
        self._queue, self._give_up = queue, give_up
        try:
            while not queue.is_finished or any(isinstance(worker.command, Work) for worker in self.workers):
                yield from self._round()
        finally:
            self._queue = None

    def close(self) -> None:
        """Close the job in each idle worker. Workers that still build or load data are not waited for."""
        self._starts, self._task, self._queue = False, None, None
        idle = [worker for worker in self.workers if not worker.doing]
        for worker in idle:
            worker.send(Close(), "closing")
        while any(isinstance(worker.command, Close) for worker in self.workers):
            self._round()
        for worker in idle:
            worker.link.wait()

    def kill(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.link.kill()

    def _remove(self, worker: WorkerHandle) -> None:
        self.workers.remove(worker)
        worker.link.kill()

    def _wait(self, condition: Callable[[WorkerHandle], bool]) -> None:
        """Wait until the condition is true for all workers, or for one where workers may join later."""
        enough = any if self._transport.replaces_lost else all
        while not self.workers or not enough(condition(worker) for worker in self.workers):
            self._round()

    def _round(self) -> list[tuple[WorkerHandle, Answer]]:
        """Give commands to idle workers, handle the messages that arrive, and return the answers among them."""
        while self._starts and len(self.workers) < self._transport.count:
            self.workers.append(WorkerHandle(self._transport.start(self._started)))
            self._started += 1
            self.workers[-1].send(self._job, self._job.building)
        for worker in self.workers:
            if not worker.doing:
                self._assign(worker)
        answers: list[tuple[WorkerHandle, Answer]] = []
        for worker, message in self._receive():
            if isinstance(message, Answer):
                if self._queue is not None and self._queue.accept(worker.in_hand, message.key):
                    self._unused = 0
                    answers.append((worker, message))
            elif isinstance(message, Ask):
                queue = self._queue
                worker.link.send([] if queue is None else queue.take(worker.in_hand, len(self.workers)))
            elif isinstance(message, Failed):
                assert self._queue is not None and self._queue.budget is not None
                self._queue.budget.spend(message.items, message.error)
            elif isinstance(message, Raised):
                self._remove(worker)
                raise message.error
            elif isinstance(message, Lost):
                answers += self._handle_loss(worker, message)
            else:
                assert isinstance(message, Done)
                self._finish_command(worker, message.value)
        return answers

    def _receive(self) -> Iterator[tuple[WorkerHandle, Any]]:
        now, limit = time.monotonic(), self._timeout
        for worker in self.workers if limit else ():
            if worker.in_hand and now > worker.heard + (limit or 0) and not worker.link.has_message():
                yield worker, Lost(f"gave no answer for {limit:g} seconds (--timeout)")
                return
        active = [worker for worker in self.workers if worker.doing != CLOSED]
        workers = {id(worker.link): worker for worker in sorted(active, key=lambda worker: worker.heard)}
        for link, messages in self._transport.receive([worker.link for worker in workers.values()]):
            worker = workers[id(link)]
            worker.heard = time.monotonic()
            for message in messages:
                if worker.doing != CLOSED:  # its end is no loss
                    yield worker, message

    def _assign(self, worker: WorkerHandle) -> None:
        if self._task is not None and worker.task != self._task:
            worker.task = None
            worker.send(Call("open", (self._task,)), self._activity("opening"))
        elif self._queue is not None and self._queue.has_work:
            worker.send(Work(self._queue.budget is not None), self._activity(self._job.working))

    def _activity(self, verb: str) -> str:
        return f"{verb} task {self._task_id}"

    def _finish_command(self, worker: WorkerHandle, value: Any) -> None:
        command, worker.command, worker.doing, worker.value = worker.command, None, "", value
        if isinstance(command, JobSpec):
            self._compare(worker, value)
        elif isinstance(command, Call) and command.method == "open":
            (worker.task,) = command.arguments
        elif isinstance(command, Close):
            worker.doing = CLOSED

    def _compare(self, worker: WorkerHandle, built: Built) -> None:
        """Raise AdapterError if the declarations or packages of a worker differ from those of the first."""
        self.info = self.info or built.info
        if built.info != self.info:
            raise AdapterError(
                f"{built.info.name}: {worker.name} declares other values than the first: name, kind, inputs, version, "
                "options and source may not depend on the process or node"
            )
        for name in sorted(self._packages.keys() & built.packages.keys()):
            if built.packages[name] != self._packages[name]:
                raise AdapterError(
                    f"{worker.name} has {name} {built.packages[name]}, another worker has {self._packages[name]}: a "
                    "run's nodes must have the same packages"
                )
        self._packages = self._packages or built.packages

    def _handle_loss(self, worker: WorkerHandle, lost: Lost) -> list[tuple[WorkerHandle, Answer]]:
        """Requeue the work of a lost worker; end the command if workers are not replaced or nothing else can help."""
        self._remove(worker)
        told = f"{worker.name} {lost.how} while {worker.describe(self._job.unit)}"
        if not self._transport.replaces_lost:
            raise AdapterError(f"{told}; {self._job.kept}")
        if not worker.in_hand or self._queue is None:
            self._unused += not lost.with_node
            if self._unused >= MAX_UNUSED:
                raise AdapterError(f"{told}, as did {MAX_UNUSED - 1} before it; {self._job.kept}")
            logger.warning(f"{told}; the command continues")
            return []
        key, piece = next(iter(worker.in_hand.items()))
        if len(worker.in_hand) == 1 and self._queue.count_loss(key) >= MAX_ALONE:
            error = AdapterError(f"{told}, as did one before it; {self._job.kept}")
            if self._give_up is None:
                raise error
            result = self._give_up(piece, error)
            self._queue.accept(worker.in_hand, key)
            return [(worker, Answer(key, result))]
        logger.warning(f"{told}; handed out again, the command continues")
        self._queue.requeue(worker.in_hand)
        return []
