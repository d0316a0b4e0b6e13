"""All errors that a user's input can cause: `MRBError` and its subclasses.

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

    `place` identifies the faulty item where the raising code knows only positions: (index of an item or a pair), or
    (key of a request, index of its candidate). The caller, which knows the names, adds them with `at`. `image` is the
    hash of the faulty image.
    """

    place: tuple[int, ...] = ()
    image: str = ""

    def at(self, where: str) -> Self:
        """Return this error with `where` before its message."""
        return type(self)(f"{where}: {self}")


class TaskError(MRBError):
    """A task or suite definition that is unknown, malformed or inconsistent."""


class DataError(MRBError):
    """A table, image or judgement that is damaged or does not have the form that the task defines."""


class CandidatesError(MRBError):
    """A candidate list that is missing, damaged, or belongs to another task."""


class AdapterError(MRBError):
    """A reranker that cannot be found or loaded, or that broke its contract."""


class ResultError(MRBError):
    """A run, result or journal that is damaged, incomplete, or does not match what it states."""


class TrainingError(MRBError):
    """Training settings or groups that no loss can use."""


def to_one_line(text: object, limit: int = 300) -> str:
    """Return `text` on one line: control characters removed, white space folded, cut at `limit` characters."""
    folded = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"


def format_first_problem(error: ValidationError) -> str:
    """Return the first problem that pydantic found, on one line: `field.path: message (and n more problems)`."""
    first, *others = error.errors(include_url=False)
    where = ".".join(str(part) for part in first["loc"]) or "(top level)"
    said = "unknown field" if first["type"] == "extra_forbidden" else first["msg"]
    more = f" (and {len(others)} more problem{'s' if len(others) > 1 else ''})" if others else ""
    return to_one_line(f"{where}: {said}{more}")


def suggest_names(name: str, known: Sequence[str]) -> str:
    """Return " (did you mean ...?)" with the names in `known` that are similar to `name`; empty if none is."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=3)
    return f" (did you mean {', '.join(close)}?)" if close else ""
