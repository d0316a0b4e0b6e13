"""The workers of a command on a Ray cluster: asked for, spoken to, and replaced when they are lost."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from mrb.errors import AdapterError, one_line
from mrb.parallel.cluster.worker_actor import Relay
from mrb.parallel.cluster.worker_handle import Died, Joined, Lost, Member, Seat
from mrb.parallel.process import KEPT, silent
from mrb.parallel.resources import THREADS

LOOK_SECONDS = 1.0
"""How often the cluster is looked at while no worker says anything."""
WAIT_SECONDS = 15.0
"""After so long without any worker the user is told that there is no room for one."""
UNUSED = 3
"""So many workers in a row that end before they have done anything mean that none will."""
ALONE = 2
"""A piece of work that was the only one in the hands of so many workers when they were lost is what ends them."""


class Crew:
    """As many workers as are wanted, or as the cluster has room for. While it is `hiring`, one that is lost is asked
    for anew."""

    def __init__(self, wanted: int | None, gpus: float, serve: str, say: Callable[[str], None]) -> None:
        self.members: list[Member] = []
        self.say = say
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
        """How many workers there are to be."""
        if self._wanted is not None:
            return self._wanted
        if time.monotonic() > self._looked + LOOK_SECONDS:
            there = ray.cluster_resources()
            each = {"CPU": 1.0, "GPU": self._gpus}
            self._room = max(1, int(min(there.get(name, 0.0) / each[name] for name in each if each[name])))
            self._looked = time.monotonic()
        return self._room

    def events(self, timeout: float | None = None) -> Iterator[tuple[Member, Any]]:
        """What one worker has said by now, if any has within a moment: messages, `Joined` first, or `Lost`, after which
        it is none of the members. With a `timeout`, one that says nothing for so many seconds with work in hand is
        ended, and lost."""
        while self.hiring and len(self.members) < self.size:
            self._start()
        self._tell_if_nobody_comes()
        late = next((member for member in self.members if timeout and _late(member, timeout)), None)
        if late is not None:
            yield late, self._gone(late, silent(timeout or 0), with_node=False)
            return
        ready, _ = ray.wait([member.stream for member in self.members], timeout=LOOK_SECONDS)
        for member in [member for member in self.members if member.stream in ready]:
            # The first that is ready is given: who was heard goes last, so that all are.
            self.members.remove(member)
            self.members.append(member)
            member.since = time.monotonic()
            for message in self._messages(member):
                yield member, message

    def worked(self) -> None:
        """Note that a worker has done something: those that ended before they did had other reasons."""
        self._unused = 0

    def unused(self, told: str, lost: Lost) -> None:
        """Count one that ended with nothing in hand; AdapterError, with what is `told` of it, if none will last."""
        self._unused += not lost.with_node
        if self._unused >= UNUSED:
            raise AdapterError(f"{told}, as did {UNUSED - 1} before it; {KEPT}")

    def deadly(self, work: str) -> bool:
        """Count a worker that was lost with this work alone in hand; whether it has been enough of them."""
        self._alone[work] += 1
        return self._alone[work] >= ALONE

    def drop(self, member: Member) -> None:
        """End a worker, whatever it does."""
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
            raise  # a mistake of ours, not a loss
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
            self._waiting = float("inf")  # said once
            there = ray.cluster_resources()
            self.say(
                f"the cluster has no room for a worker yet (1 CPU, {self._gpus:g} GPUs; it has {there.get('CPU', 0):g} "
                f"and {there.get('GPU', 0):g}); waiting"
            )


def _late(member: Member, timeout: float) -> bool:
    """Whether it has held work in silence for so long; what it has said while nobody listened is no silence."""
    silence = bool(member.in_hand) and time.monotonic() > member.since + timeout
    return silence and not ray.wait([member.stream], timeout=0)[0]


def _alive(node: str | None) -> bool:
    return node is None or any(found["NodeID"] == node and found["Alive"] for found in ray.nodes())


def _reason(error: BaseException) -> str:
    """The last line of what Ray says, which has the reason; the first ones are its names for things."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else type(error).__name__, 160)
