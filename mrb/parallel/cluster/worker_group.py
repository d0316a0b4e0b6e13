"""Start the workers of a command on a Ray cluster, exchange messages with them, and replace lost ones."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from mrb.errors import AdapterError, one_line
from mrb.parallel.cluster.worker_actor import Relay
from mrb.parallel.cluster.worker_handle import Died, Joined, Lost, Member, Seat
from mrb.parallel.process import KEPT, silent
from mrb.parallel.resources import THREADS

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Seconds between looks at the cluster's resources while no worker sends a message."""
WAIT_SECONDS = 15.0
"""Seconds without any worker after which the user is told that the cluster has no room."""
UNUSED = 3
"""Number of workers in a row that end without having done anything, after which the command gives up."""
ALONE = 2
"""Number of workers lost with the same single piece of work in hand, after which that work counts as the cause."""


class Crew:
    """A group of as many workers as are wanted or as the cluster has room for.

    While `hiring` is true, lost workers are replaced.
    """

    def __init__(self, wanted: int | None, gpus: float, serve: str) -> None:
        self.members: list[Member] = []
        self.hiring = True
        self._wanted = wanted
        self._gpus = gpus
        self._serve = serve
        self._started = 0
        self._unused = 0
        self._alone: Counter[str] = Counter()
        self._looked = self._waiting = float("-inf")
        self._room = 1
        remote: Any = ray.remote  # its types know no concurrency groups
        self._relay = remote(num_cpus=1, num_gpus=gpus, concurrency_groups={"said": 1})(Relay)

    @property
    def size(self) -> int:
        """The wanted number of workers, or the number that the cluster has room for."""
        if self._wanted is not None:
            return self._wanted
        if time.monotonic() > self._looked + LOOK_SECONDS:
            there = ray.cluster_resources()
            each = {"CPU": 1.0, "GPU": self._gpus}
            self._room = max(1, int(min(there.get(name, 0.0) / each[name] for name in each if each[name])))
            self._looked = time.monotonic()
        return self._room

    def events(self, timeout: float | None = None) -> Iterator[tuple[Member, Any]]:
        """Wait briefly and yield (worker, message) for the messages of one worker.

        The first message of a worker is `Joined`. After `Lost` it is no longer a member. A worker with work in hand
        that is silent for `timeout` seconds is ended and lost.
        """
        while self.hiring and len(self.members) < self.size:
            self._start()
        self._tell_if_nobody_comes()
        late = next((member for member in self.members if timeout and _late(member, timeout)), None)
        if late is not None:
            yield late, self._gone(late, silent(timeout or 0), with_node=False)
            return
        ready, _ = ray.wait([member.stream for member in self.members], timeout=LOOK_SECONDS)
        for member in [member for member in self.members if member.stream in ready]:
            # `ray.wait` returns the first ready stream, so the worker just heard moves to the end.
            self.members.remove(member)
            self.members.append(member)
            member.since = time.monotonic()
            for message in self._messages(member):
                yield member, message

    def worked(self) -> None:
        """Note that a worker has done something, which resets the count of workers lost without work."""
        self._unused = 0

    def unused(self, told: str, lost: Lost) -> None:
        """Count a worker lost without work in hand. Raises AdapterError with the text `told` after UNUSED in a row."""
        self._unused += not lost.with_node
        if self._unused >= UNUSED:
            raise AdapterError(f"{told}, as did {UNUSED - 1} before it; {KEPT}")

    def deadly(self, work: str) -> bool:
        """Count a worker lost with only this work in hand; return whether the work now counts as the cause."""
        self._alone[work] += 1
        return self._alone[work] >= ALONE

    def drop(self, member: Member) -> None:
        """End a worker, whatever it is doing."""
        if member in self.members:
            self.members.remove(member)
        ray.kill(member.actor)

    def kill(self) -> None:
        """End all workers."""
        for member in list(self.members):
            self.drop(member)

    def _start(self) -> None:
        self._started += 1
        stated = {name: value for name, value in os.environ.items() if name.startswith("MRB_") or name == THREADS}
        name = f"worker {self._started}"
        actor = self._relay.remote(Seat(name, str(Path.cwd()), stated, self._serve, self._gpus, self.size))
        stream = actor.said.options(num_returns="streaming", concurrency_group="said").remote()
        self.members.append(Member(name, actor, stream))

    def _messages(self, member: Member) -> list[Any]:
        try:
            messages: list[Any] = ray.get(next(member.stream))
        except RayTaskError:
            raise  # a bug in MRB, not a lost worker
        except (RayError, StopIteration) as error:
            return [self._gone(member, f"was lost ({_reason(error)})", with_node=not _alive(member.node))]
        if isinstance(messages[0], Joined):
            member.node = messages[0].node
            member.name += f" on {messages[0].host}"
        if isinstance(messages[-1], Died):
            messages[-1] = self._gone(member, messages[-1].how, with_node=False)
        return messages

    def _gone(self, member: Member, how: str, *, with_node: bool) -> Lost:
        self.drop(member)
        return Lost(how, with_node)

    def _tell_if_nobody_comes(self) -> None:
        now = time.monotonic()
        if any(member.node for member in self.members):
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


def _late(member: Member, timeout: float) -> bool:
    """Return whether a worker with work in hand is silent for `timeout` seconds and has no unread message."""
    silence = bool(member.in_hand) and time.monotonic() > member.since + timeout
    return silence and not ray.wait([member.stream], timeout=0)[0]


def _alive(node: str | None) -> bool:
    return node is None or any(found["NodeID"] == node and found["Alive"] for found in ray.nodes())


def _reason(error: BaseException) -> str:
    """Return the last line of Ray's message, which holds the reason; the first lines are Ray's internal names."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else type(error).__name__, 160)
