"""The one family of errors that a user can cause.

Every message says what is wrong, where (task, query, candidate, file) and what to do. The command line prints it as
one line and exits with code 2; anything else that escapes is a bug and shows its traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from pydantic import ValidationError


class MRBError(Exception):
    """A mistake in what was given to MRB: a command, a file, a data set, an adapter.

    `place` says which of several things it is about, where who raises it knows no names: (number of an item or a pair
    among those given), or (key of a request, number of its candidate). Who gave them raises it `at` their name.
    `image` is the hash of the image that it is about.
    """

    place: tuple[int, ...] = ()
    image: str = ""

    def at(self, where: str) -> Self:
        """The same mistake with `where` before its message."""
        return type(self)(f"{where}: {self}")


class TaskError(MRBError):
    """A task or suite definition that is unknown, malformed or inconsistent."""


class DataError(MRBError):
    """A table, image or judgement that cannot be read as the task says."""


class CandidatesError(MRBError):
    """A candidate list that is missing, damaged, or belongs to another task."""


class AdapterError(MRBError):
    """A reranker that cannot be found or loaded, or that broke its contract."""


class ResultError(MRBError):
    """A run, result or journal that is damaged, incomplete or not what it says."""


class TrainingError(MRBError):
    """Training settings or groups that no loss can use."""


def to_one_line(text: object, limit: int = 300) -> str:
    """Text fit for a terminal line: control characters removed, white space folded, cut at `limit` characters."""
    folded = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"


def format_first_problem(error: ValidationError) -> str:
    """The first problem that pydantic found, as `field.path: message (n problems)`, fit for one line."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the whole"
    return to_one_line(f"{where}: {first['msg']} ({error.error_count()} problem(s) in all)")


def suggest_names(name: str, known: Sequence[str]) -> str:
    """The names among `known` that `name` may have meant, as the end of an error; empty where none is close."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=3)
    return f" (did you mean {', '.join(close)}?)" if close else ""
