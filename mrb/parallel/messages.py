"""What a run and its worker processes say to each other, over a pipe that only the two of them hold.

The run sends a command, the worker answers `Done` or `Raised`. Between `Work` and its `Done` the worker speaks as it
goes: it asks for queries, and sends a `Record` for each that it has scored. Images never pass: a query travels as its
id and the positions wanted, and the worker reads the data itself.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from mrb import errors
from mrb.errors import MRBError
from mrb.evaluation.journal import Record
from mrb.evaluation.task_spec import Choice

Span = tuple[str, int, int]
"""Query id, first first-stage position, the position after the last."""


@dataclass(frozen=True)
class Build:
    """Build the reranker. Done has its `RerankerInfo`."""

    model: str
    options: Mapping[str, str]


@dataclass(frozen=True)
class Packages:
    """Done has the versions of the packages that are imported now."""


@dataclass(frozen=True)
class Open:
    """Make the plan of `choice`, whose list must have this hash."""

    choice: Choice
    candidates: str


@dataclass(frozen=True)
class Work:
    """Ask for queries and score them until there are none left; `tolerant`: failures are told and do not end it."""

    tolerant: bool


@dataclass(frozen=True)
class Close:
    """Close the reranker and end."""


Command = Build | Packages | Open | Work | Close


@dataclass(frozen=True)
class Ask:
    """More queries, please. The answer is a list of spans; an empty one: finish what you hold, then ask again."""


@dataclass(frozen=True)
class Failed:
    """`pairs` failed with this error and are to be counted."""

    pairs: int
    error: MRBError


@dataclass(frozen=True)
class Done:
    """The command is carried out."""

    value: object = None


@dataclass(frozen=True)
class Raised:
    """The command ended in a mistake that the user is told of in one line."""

    error: MRBError


Message = Ask | Record | Failed | Done | Raised


def portable(error: MRBError) -> MRBError:
    """The error as another process can hold it: of a class of `mrb.errors`, its traceback as a note.

    What it was raised from, or an adapter's own subclass, may be of a module that only the worker can import.
    """
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    plain = kind(str(error))
    assert isinstance(plain, MRBError)  # every class of that module is one
    plain.add_note("In the worker:\n" + "".join(traceback.format_exception(error)).rstrip())
    return plain
