"""The Ray actor of one worker: it starts the worker process on its node and relays messages.

The worker is the same process that `--workers` starts on one machine. So a crash of an adapter does not crash Ray, and
its exit code is known. The process ends when its actor ends, for whatever reason.
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
"""Seconds between checks of a silent process. Its child may hold its pipe open, so its death gives no EOF."""


class Relay:
    """The actor, which `mrb.parallel.cluster.worker_group` starts with one thread for each direction."""

    def __init__(self, seat: Seat) -> None:
        # The folder exists if the nodes share a file system or the run is a Ray job with a working folder.
        if Path(seat.folder).is_dir():
            os.chdir(seat.folder)
        self._node = ray.get_runtime_context().get_node_id()
        environment = {**os.environ, THREADS: str(threads(_resources(self._node), seat.gpus, seat.workers))}
        self._process = WorkerProcess(seat.name, environment | seat.environment, seat.serve)

    def tell(self, message: Any) -> None:
        """Relay a command or an answer to the worker. If it has died, `said` reports that."""
        with contextlib.suppress(OSError):
            self._process.connection.send(message)

    def said(self) -> Iterator[list[Any]]:
        """Yield the worker's messages in lists, `Joined` first and `Died` last."""
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
    """Return the number of threads for one worker's numeric libraries: its share of the cores of its node.

    The share assumes that as many of `workers` run on the node as it has room for.
    """
    there = int(resources.get("CPU", 1.0))
    room = min(there, int(resources.get("GPU", 0.0) / gpus)) if gpus else there
    return max(1, there // max(1, min(room, workers)))


def _resources(node: str) -> dict[str, float]:
    return next((found["Resources"] for found in ray.nodes() if found["NodeID"] == node), {})
