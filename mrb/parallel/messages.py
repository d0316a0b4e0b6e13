"""The messages between a run and its worker processes, over one pipe per worker.

The run sends a command, and the worker answers `Done` or `Raised`. Between `Work` and its `Done` the worker asks for
queries and sends a `Record` for each scored query. Images are never sent: a query is sent as its id and a range of
positions, and the worker reads the data itself.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from mrb import errors
from mrb.errors import MRBError
from mrb.evaluation.journal import Record
from mrb.evaluation.spec import TaskSpec

Span = tuple[str, int, int]
"""(query id, first position in the candidate list, position after the last)."""


@dataclass(frozen=True)
class Build:
    """Command: build the reranker. The value of `Done` is its `RerankerInfo`."""

    model: str
    options: Mapping[str, str]


@dataclass(frozen=True)
class Packages:
    """Command: report the imported packages. The value of `Done` is {package: version}."""


@dataclass(frozen=True)
class Open:
    """Command: load the plan of `spec`, whose candidate list must have the hash `candidates`."""

    spec: TaskSpec
    candidates: str


@dataclass(frozen=True)
class Work:
    """Command: ask for queries and score them until none is left. If `tolerant`, failures are reported as `Failed`."""

    tolerant: bool


@dataclass(frozen=True)
class Close:
    """Command: close the reranker and end."""


Command = Build | Packages | Open | Work | Close


@dataclass(frozen=True)
class Ask:
    """The worker asks for queries. The answer is a list of spans; an empty list means: finish all, then ask again."""


@dataclass(frozen=True)
class Failed:
    """`pairs` pairs failed with this error; the run counts them."""

    pairs: int
    error: MRBError


@dataclass(frozen=True)
class Done:
    """The worker has finished the command."""

    value: object = None


@dataclass(frozen=True)
class Raised:
    """The command failed with an error that the user sees in one line."""

    error: MRBError


Message = Ask | Record | Failed | Done | Raised


def portable(error: MRBError) -> MRBError:
    """Convert an error so that another process can unpickle it: a class of `mrb.errors`, with the traceback as a note.

    Its cause, or an adapter's own subclass, may belong to a module that only the worker can import.
    """
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    plain = kind(str(error))
    assert isinstance(plain, MRBError)  # every class of that module is one
    plain.add_note("In the worker:\n" + "".join(traceback.format_exception(error)).rstrip())
    return plain
