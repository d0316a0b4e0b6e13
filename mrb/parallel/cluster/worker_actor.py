"""The actor of one worker: it starts the worker process on its node and passes on what it and the run say.

The worker itself is the process that `--workers` starts on one machine, so that an adapter that crashes takes no part
of Ray with it, and how it ended can be told. It ends when its actor ends, however that happens.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from multiprocessing import connection
from pathlib import Path
from typing import Any

import ray

from mrb.parallel.cluster.worker_handle import Died, Joined, Seat
from mrb.parallel.process import WorkerProcess
from mrb.parallel.resources import THREADS

LOOK_SECONDS = 1.0
"""How often a silent process is looked at: a child of it may hold its pipe open."""


class Relay:
    """Started by `mrb.parallel.cluster.worker_group` as an actor with a thread for each direction."""

    def __init__(self, seat: Seat) -> None:
        # Where the nodes share a file system, or the run was submitted as a job with a working folder, it is there.
        if Path(seat.folder).is_dir():
            os.chdir(seat.folder)
        self._node = ray.get_runtime_context().get_node_id()
        environment = {**os.environ, THREADS: str(threads(_resources(self._node), seat.gpus, seat.workers))}
        self._process = WorkerProcess(seat.name, environment | seat.environment, seat.serve)

    def tell(self, message: Any) -> None:
        """Pass a command or an answer to the worker; `said` tells if it has died."""
        with contextlib.suppress(OSError):
            self._process.connection.send(message)

    def said(self) -> Iterator[list[Any]]:
        """What the worker says, several messages at a time where they come fast; `Joined` first, `Died` last."""
        yield [Joined(self._node, socket.gethostname())]
        while True:
            messages = self._messages()
            yield messages
            if isinstance(messages[-1], Died):
                return

    def _messages(self) -> list[Any]:
        pipe, found = self._process.connection, []
        while not connection.wait([pipe], LOOK_SECONDS):
            if self._process.process.poll() is not None:
                return [Died(self._process.ending())]
        try:
            while pipe.poll():
                found.append(pipe.recv())
        except (EOFError, OSError):
            found.append(Died(self._process.ending()))
        return found


def threads(resources: dict[str, float], gpus: float, workers: int) -> int:
    """The threads that numeric libraries of one worker get: its share of its node's cores, if as many of `workers` as
    have room run there."""
    there = int(resources.get("CPU", 1.0))
    room = min(there, int(resources.get("GPU", 0.0) / gpus)) if gpus else there
    return max(1, there // max(1, min(room, workers)))


def _resources(node: str) -> dict[str, float]:
    return next((found["Resources"] for found in ray.nodes() if found["NodeID"] == node), {})
