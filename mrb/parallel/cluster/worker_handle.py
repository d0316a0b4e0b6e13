"""A worker of a cluster as its command sees it, and what is said of its beginning and end. Nothing here needs Ray."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Seat:
    """Where and how a worker runs: the run's folder, variables of its environment, the module that it serves with, and
    how many others at most share its node."""

    name: str
    folder: str
    environment: dict[str, str]
    serve: str
    gpus: float
    workers: int


@dataclass(frozen=True)
class Joined:
    """The first that is said: the process is started on this node."""

    node: str
    host: str


@dataclass(frozen=True)
class Died:
    """The last that is said: how the process ended."""

    how: str


@dataclass(frozen=True)
class Lost:
    """A worker has ended, or cannot be reached any more. `with_node`: its node is gone too."""

    how: str
    with_node: bool


@dataclass(eq=False)
class Member:
    """A worker as the command sees it. `doing` is "" while nothing has been asked of it that is not done."""

    name: str
    actor: Any
    stream: Any
    node: str | None = None
    doing: str = "being started"
    in_hand: dict[str, Any] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)

    def tell(self, message: object, doing: str | None = None) -> None:
        """Give it a command, of which it is `doing` something until it says `Done`, or an answer."""
        self.doing = self.doing if doing is None else doing
        self.since = time.monotonic()
        self.actor.tell.remote(message)
