"""What is said of an exception that code from outside MRB has raised, in one line, whatever the exception does."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from mrb.errors import AdapterError, one_line

_PACKAGES = {"site-packages", "dist-packages"}
_LIBRARY = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}


def safe_text(value: object, limit: int = 300) -> str:
    """`str(value)` fit for one line; the name of its type where that raises."""
    try:
        return one_line(value, limit)
    except Exception:
        return f"(a {type(value).__name__} that cannot be printed)"


def safe_repr(value: object, limit: int = 80) -> str:
    """`repr(value)` fit for one line; the name of its type where that raises."""
    try:
        return one_line(repr(value), limit)
    except Exception:
        return f"a {type(value).__name__}"


def said(error: BaseException) -> str:
    """The error's type and text; of a group also its first member's."""
    text = safe_text(error)
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{line}: {said(error.exceptions[0])}" if isinstance(error, BaseExceptionGroup) else line


def refused(error: BaseException, what: str) -> AdapterError | KeyboardInterrupt:
    """What to raise in place of `error`: an AdapterError of one line that begins with `what` and names type, text and
    place; for the user's own interrupt, also one inside a group, the interrupt."""
    if isinstance(error, KeyboardInterrupt) or (
        isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt) is not None
    ):
        return KeyboardInterrupt()
    return AdapterError(f"{what} {said(error)}{place(error)}; MRB_TRACEBACK=1 shows all of it")


def place(error: BaseException) -> str:
    """` (file.py, line 7)`: the last line of the user's own code that the error passed; "" where there is none.

    The user's own is what is neither MRB nor the standard library nor an installed package. For an installed adapter it
    is the last line outside MRB.
    """
    for part in (*_members(error), error, error.__cause__):
        if part is not None and (found := _last_line(part)):
            return found
    return ""


def _members(error: BaseException) -> list[BaseException]:
    """The first member of a group and those of its own, the innermost first."""
    return [*_members(error.exceptions[0]), error.exceptions[0]] if isinstance(error, BaseExceptionGroup) else []


def _last_line(error: BaseException) -> str:
    own: tuple[Path, int] | None = None
    outside: tuple[Path, int] | None = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        module, file = str(frame.f_globals.get("__name__")), Path(frame.f_code.co_filename)
        adapter = module.startswith("mrb.baselines.")
        installed = not _PACKAGES.isdisjoint(file.parts)
        if file.name.startswith("<") or (module.startswith("mrb.") and not adapter):
            continue
        if not installed and any(file.is_relative_to(folder) for folder in _LIBRARY):
            continue
        outside = file, line
        if adapter or not installed:
            own = outside
    found = own or outside
    return f" ({found[0].name}, line {found[1]})" if found else ""
