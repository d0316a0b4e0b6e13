"""Workers on a Ray cluster: the actor that runs a worker process on a node, and the transport of messages.

The worker is the same process that `--workers` starts on one machine. So a crash of an adapter does not crash Ray, and
its exit code is known. The process ends when its actor ends, for whatever reason.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from mrb._util.cores import THREADS_VARIABLE
from mrb.errors import to_one_line
from mrb.parallel.messages import Lost
from mrb.parallel.process import WorkerProcess

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Seconds between looks at the cluster's resources, or at a silent process, while no message arrives."""
WAIT_SECONDS = 15.0
"""Seconds without any worker after which the user is told that the cluster has no room."""


@dataclass(frozen=True)
class Joined:
    """The first message of an actor: the process has started on this node."""

    node: str
    host: str


class WorkerActor:
    """The Ray actor, which has one thread for each direction.

    `folder` is the command's working folder, `workers` the number of workers of the command.
    """

    def __init__(self, name: str, folder: str, environment: dict[str, str], gpus: float, workers: int) -> None:
        # The folder exists if the nodes share a file system or the run is a Ray job with a working folder.
        if Path(folder).is_dir():
            os.chdir(folder)
        self._node = ray.get_runtime_context().get_node_id()
        (resources,) = (found["Resources"] for found in ray.nodes() if found["NodeID"] == self._node)
        threads = {THREADS_VARIABLE: str(count_threads(resources, gpus, workers))}
        self._process = WorkerProcess(name, {**os.environ, **threads, **environment})

    def send(self, message: Any) -> None:
        """Relay a message to the worker."""
        self._process.send(message)

    def receive(self) -> Iterator[list[Any]]:
        """Yield the worker's messages in lists, `Joined` first and `Lost` last."""
        yield [Joined(self._node, socket.gethostname())]
        while True:
            if connection.wait([self._process.connection], LOOK_SECONDS):
                messages = self._process.receive()
            else:
                messages = self._process.look()
            if messages:
                yield messages
                if isinstance(messages[-1], Lost):
                    return


def count_threads(resources: dict[str, float], gpus: float, workers: int) -> int:
    """Return the number of threads for one worker's numeric libraries: its share of the cores of its node.

    The share assumes that as many of `workers` run on the node as it has room for.
    """
    there = int(resources.get("CPU", 1.0))
    room = min(there, int(resources.get("GPU", 0.0) / gpus)) if gpus else there
    return max(1, there // max(1, min(room, workers)))


class RayLink:
    """The connection to the actor of one worker. `node` is known once it has joined."""

    def __init__(self, name: str, actor: Any) -> None:
        self.name = name
        self.node: str | None = None
        self.actor = actor
        self.stream = actor.receive.options(num_returns="streaming", concurrency_group="receive").remote()

    def send(self, message: object) -> None:
        """Send a message, which a dead worker does not get."""
        self.actor.send.remote(message)

    def receive(self) -> list[Any]:
        """Return the next messages of the worker. `Lost` is the last if it has ended or cannot be reached."""
        try:
            messages: list[Any] = ray.get(next(self.stream))
        except RayTaskError:
            raise  # a bug in MRB, not a lost worker
        except (RayError, StopIteration) as error:
            return [Lost(f"was lost ({_find_reason(error)})", with_node=not _is_alive(self.node))]
        if isinstance(messages[0], Joined):
            joined = messages.pop(0)
            self.node = joined.node
            self.name += f" on {joined.host}"
        return messages

    def has_message(self) -> bool:
        """Return whether a message of the worker is unread."""
        return bool(ray.wait([self.stream], timeout=0)[0])

    def wait(self) -> None:
        """Do nothing: the worker ends with its actor."""

    def kill(self) -> None:
        """End the worker, whatever it is doing."""
        ray.kill(self.actor)


class RayWorkers:
    """A transport of `mrb.parallel.pool`: `wanted` workers, or as many as the cluster has room for if None."""

    replaces_lost = True

    def __init__(self, wanted: int | None, gpus: float) -> None:
        self._wanted = wanted
        self._gpus = gpus
        self._looked = self._waiting = float("-inf")
        self._room = 1
        remote: Any = ray.remote  # its types know no concurrency groups
        self._actor = remote(num_cpus=1, num_gpus=gpus, concurrency_groups={"receive": 1})(WorkerActor)

    @property
    def count(self) -> int:
        """The wanted number of workers, or the number that the cluster has room for."""
        if self._wanted is not None:
            return self._wanted
        if time.monotonic() > self._looked + LOOK_SECONDS:
            there = ray.cluster_resources()
            each = {"CPU": 1.0, "GPU": self._gpus}
            self._room = max(1, int(min(there.get(name, 0.0) / each[name] for name in each if each[name])))
            self._looked = time.monotonic()
        return self._room

    def start(self, number: int) -> RayLink:
        """Ask the cluster for a worker, and return its link."""
        stated = {
            name: value for name, value in os.environ.items() if name.startswith("MRB_") or name == THREADS_VARIABLE
        }
        name = f"worker {number + 1}"
        return RayLink(name, self._actor.remote(name, str(Path.cwd()), stated, self._gpus, self.count))

    def receive(self, links: Sequence[RayLink]) -> list[tuple[RayLink, list[Any]]]:
        """Wait briefly and return the messages of one worker, the first of `links` that has sent some."""
        self.warn_if_no_room(links)
        ready, _ = ray.wait([link.stream for link in links], timeout=LOOK_SECONDS)
        return [(link, link.receive()) for link in links if link.stream in ready]

    def warn_if_no_room(self, links: Sequence[RayLink]) -> None:
        """Tell the user once if no worker has joined for WAIT_SECONDS."""
        now = time.monotonic()
        if any(link.node for link in links):
            self._waiting = float("-inf")
        elif self._waiting == float("-inf"):
            self._waiting = now
        elif now > self._waiting + WAIT_SECONDS:
            self._waiting = float("inf")  # reported once
            there = ray.cluster_resources()
            logger.warning(
                f"the cluster has no room for a worker yet (1 CPU, {self._gpus:g} GPUs; it has {there.get('CPU', 0):g} "
                f"and {there.get('GPU', 0):g}); waiting"
            )


def _is_alive(node: str | None) -> bool:
    return node is None or any(found["NodeID"] == node and found["Alive"] for found in ray.nodes())


def _find_reason(error: BaseException) -> str:
    """Return the last line of Ray's message, which holds the reason; the first lines are Ray's internal names."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return to_one_line(lines[-1] if lines else type(error).__name__, 160)
