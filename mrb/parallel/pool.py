"""The executor with several processes: `on_processes(n)`. Only this process writes the run's files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing import connection

from mrb.errors import AdapterError
from mrb.evaluation.executor import Score, Start
from mrb.evaluation.failures import FailureBudget
from mrb.evaluation.journal import Record
from mrb.evaluation.plan import Entry, Plan
from mrb.evaluation.spec import TaskSpec
from mrb.parallel.messages import Ask, Build, Close, Command, Done, Failed, Message, Open, Packages, Raised, Work
from mrb.parallel.process import WorkerProcess
from mrb.parallel.resources import visible_gpus, worker_environment
from mrb.parallel.work_queue import Shares
from mrb.results.schema import RerankerInfo

LOOK_SECONDS = 1.0
"""Seconds between checks of silent workers. A dead worker's child may hold its pipe open, so it gives no EOF."""


def on_processes(workers: int, timeout: float | None = None) -> Start:
    """Return an executor with several processes for `mrb.evaluation.run.run`.

    Args:
        workers: The number of processes; each builds its own reranker.
        timeout: Seconds of silence after which a worker with queries ends the run, as a dead worker does; None for no
            limit.

    Raises:
        AdapterError: The system is neither Linux nor macOS.
    """

    if os.name != "posix":
        raise AdapterError("several workers need Linux or macOS; leave --workers out")

    @contextmanager
    def start(model: str, options: Mapping[str, str]) -> Iterator[Pool]:
        pool = Pool(workers, timeout)
        try:
            pool.build(model, options)
            yield pool
            pool.close()
        finally:
            pool.kill()

    return start


class Pool:
    """Worker processes with one reranker each. An error or death of one is raised here; `kill` ends the others."""

    def __init__(self, workers: int, timeout: float | None = None) -> None:
        self.workers = workers
        self._timeout = timeout
        self._processes: list[WorkerProcess] = []
        self._info: RerankerInfo | None = None
        self._opened: TaskSpec | None = None

    @property
    def info(self) -> RerankerInfo:
        """The reranker's declarations, which are equal in all workers."""
        assert self._info is not None, "workers build before they are asked"
        return self._info

    def build(self, model: str, options: Mapping[str, str]) -> None:
        """Start the processes and build the reranker in each.

        Raises AdapterError as `load_reranker` does, or if the declarations differ between processes.
        """
        gpus = visible_gpus()
        for number in range(self.workers):
            environment = worker_environment(number, self.workers, gpus)
            self._processes.append(WorkerProcess(f"worker {number + 1} of {self.workers}", environment))
        for process, info in self._all(Build(model, options), "building the reranker").items():
            assert isinstance(info, RerankerInfo)
            self._info = self._info or info
            if info != self._info:
                raise AdapterError(
                    f"{info.name}: {process.name} declares other things than the first: name, kind, inputs, version "
                    "and options may not depend on the process"
                )

    def packages(self) -> dict[str, str]:
        """Return {package: version} of the packages that the first worker has imported."""
        found = self._all(Packages(), "naming its packages")[self._processes[0]]
        assert isinstance(found, dict)
        return found

    def open(self, spec: TaskSpec, plan: Plan) -> Score:
        """Load the task's data in each worker, and return the function that scores it."""
        task_id = spec.task.id
        if spec != self._opened:
            self._opened = None
            self._all(Open(spec, plan.candidates.sha256), f"opening task {task_id}")
            self._opened = spec
        return partial(self._score, task_id)

    def close(self) -> None:
        """Close the reranker in each worker and wait for the workers to end."""
        self._all(Close(), "closing the reranker")
        for process in self._processes:
            process.wait()

    def kill(self) -> None:
        """Kill the workers that have not ended by themselves."""
        for process in self._processes:
            process.kill()

    def _score(
        self, task_id: str, entries: Iterable[Entry], allowance: FailureBudget | None = None
    ) -> Iterator[Record]:
        spans = [(entry.query_id, entry.first, entry.first + len(entry.doc_ids)) for entry in entries]
        shares = Shares(spans, self.workers)
        for process, message in self._said(Work(tolerant=allowance is not None), f"scoring task {task_id}"):
            if isinstance(message, Ask):
                taken = shares.take(len(process.in_hand))
                process.in_hand |= dict.fromkeys(query_id for query_id, _, _ in taken)
                process.send(taken)
            elif isinstance(message, Record):
                del process.in_hand[message.query_id]
                yield message
            elif isinstance(message, Failed):
                assert allowance is not None
                allowance.spend(message.pairs, message.error)

    def _all(self, command: Command, doing: str) -> dict[WorkerProcess, object]:
        """Send a command to all workers and return {worker: value of its `Done`}, in the order of workers."""
        found = {process: said.value for process, said in self._said(command, doing) if isinstance(said, Done)}
        return {process: found[process] for process in self._processes}

    def _said(self, command: Command, doing: str) -> Iterator[tuple[WorkerProcess, Message]]:
        """Send a command to all workers and yield their messages until each is done. Raise the error of a worker."""
        for process in self._processes:
            process.doing = doing
            process.send(command)
        busy = list(self._processes)
        while busy:
            ready = connection.wait([process.connection for process in busy], LOOK_SECONDS)
            for process in [process for process in busy if process.connection in ready]:
                process.heard = time.monotonic()
                message = process.receive()
                if isinstance(message, Raised):
                    raise message.error
                if isinstance(message, Done):
                    busy.remove(process)
                yield process, message
            if not ready:
                _look(busy)
            self._hurry(busy)

    def _hurry(self, busy: Iterable[WorkerProcess]) -> None:
        for process in busy:
            if self._timeout and process.in_hand and time.monotonic() > process.heard + self._timeout:
                raise process.late(self._timeout)


def _look(silent: Iterable[WorkerProcess]) -> None:
    for process in silent:
        if process.process.poll() is not None:
            raise process.died()
