"""The messages between a command and its workers, and what a worker runs (`Job`).

The command sends a `JobSpec`, then `Call` and `Work`, then `Close`. The worker answers each with `Done` or `Raised`.
Between `Work` and its `Done` it asks for pieces of work and sends an `Answer` for each. A piece names what to read: the
worker reads the data itself, so that no image is sent.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from mrb import errors
from mrb.errors import MRBError
from mrb.evaluation.failures import FailureBudget

Piece = tuple[Any, ...]
"""A piece of work. Its first element is its key, a text that is unique in the queue."""


class Job(Protocol):
    """What a worker does: a reranker that scores queries, or an encoder that writes shards."""

    @property
    def info(self) -> Any:
        """The declarations, which must be equal in all workers; `info.name` is the adapter's name."""
        ...

    def open(self, task: Any) -> None:
        """Load the data of a task and free that of the last one."""
        ...

    def process(self, pieces: Iterable[Piece], budget: FailureBudget | None) -> Iterator[tuple[str, Any]]:
        """Yield (key, result) of each piece, in any order. `pieces` blocks until the command answers.

        Raises MRBError at the first failure if `budget` is None; otherwise failures are reported to it.
        """
        ...


@dataclass(frozen=True)
class JobSpec(ABC):
    """The first command: build the job of an adapter. The value of `Done` is a `Built`.

    The class variables are words for error messages: the activities of a worker that builds the job and of one that
    works, what a piece of work is, and what an error leaves intact.
    """

    name: str
    options: Mapping[str, str]
    building: ClassVar[str]
    working: ClassVar[str]
    unit: ClassVar[str]
    kept: ClassVar[str]

    @abstractmethod
    def start(self) -> AbstractContextManager[Job]:
        """Build the job; it is closed after the block."""


@dataclass(frozen=True)
class Built:
    """The declarations of a job, and {package: version} of the packages that its process has imported."""

    info: Any
    packages: dict[str, str]


@dataclass(frozen=True)
class Call:
    """Command: call a method of the job. The value of `Done` is what it returns."""

    method: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Work:
    """Command: ask for pieces of work and process them, until none is left. If `tolerant`, failures are reported."""

    tolerant: bool


@dataclass(frozen=True)
class Close:
    """Command: close the job and end."""


Command = JobSpec | Call | Work | Close


@dataclass(frozen=True)
class Ask:
    """The worker asks for work. The answer is a list of pieces; an empty list means: finish all, then ask again."""


@dataclass(frozen=True)
class Answer:
    """The result of a piece of work."""

    key: str
    value: Any


@dataclass(frozen=True)
class Failed:
    """So many items failed with this error; the command counts them."""

    items: int
    error: MRBError


@dataclass(frozen=True)
class Done:
    """The worker has finished the command."""

    value: Any = None


@dataclass(frozen=True)
class Raised:
    """The command failed with an error that the user sees in one line."""

    error: MRBError


@dataclass(frozen=True)
class Lost:
    """The worker has ended or cannot be reached (not sent by it). `with_node` is true if its node is lost too."""

    how: str
    with_node: bool = False


def make_portable(error: MRBError) -> MRBError:
    """Convert an error so that another process can unpickle it: a class of `mrb.errors`, with the traceback as a note.

    Its cause, or an adapter's own subclass, may belong to a module that only the worker can import.
    """
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    plain = kind(str(error))
    assert isinstance(plain, MRBError)  # every class of that module is one
    plain.add_note("In the worker:\n" + "".join(traceback.format_exception(error)).rstrip())
    return plain
