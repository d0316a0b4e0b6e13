"""The command's handle of a worker on a cluster, and the messages on its start and end. Nothing here needs Ray."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Seat:
    """The specification of a worker: its name, the run's working folder, environment variables, the module that it
    runs (`serve`), its number of GPUs, and the number of workers of the command."""

    name: str
    folder: str
    environment: dict[str, str]
    serve: str
    gpus: float
    workers: int


@dataclass(frozen=True)
class Joined:
    """The first message: the process has started on this node."""

    node: str
    host: str


@dataclass(frozen=True)
class Died:
    """The last message: how the process ended."""

    how: str


@dataclass(frozen=True)
class Lost:
    """A worker has ended or cannot be reached. `with_node` is true if its node is lost too."""

    how: str
    with_node: bool


@dataclass(eq=False)
class Member:
    """The command's handle of a worker. `doing` is its current activity, or "" if it is idle."""

    name: str
    actor: Any
    stream: Any
    node: str | None = None
    doing: str = "being started"
    in_hand: dict[str, Any] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)

    def tell(self, message: object, doing: str | None = None) -> None:
        """Send a command or an answer. `doing` names the activity of a command until its `Done`."""
        self.doing = self.doing if doing is None else doing
        self.since = time.monotonic()
        self.actor.tell.remote(message)
