"""Describe exceptions of code outside MRB in one line, even if the exception's own methods fail."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from mrb.errors import AdapterError, to_one_line

_PACKAGES = {"site-packages", "dist-packages"}
_LIBRARY = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}


def to_safe_text(value: object, limit: int = 300) -> str:
    """Return `str(value)` on one line, or the name of its type if that raises."""
    try:
        return to_one_line(value, limit)
    except Exception:
        return f"(a {type(value).__name__} that cannot be printed)"


def to_safe_repr(value: object) -> str:
    """Return `repr(value)` on one line, or the name of its type if that raises."""
    try:
        return to_one_line(repr(value), 80)
    except Exception:
        return f"a {type(value).__name__}"


def describe(error: BaseException) -> str:
    """Return the type and text of an error; for an exception group also those of its first member."""
    text = to_safe_text(error)
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{line}: {describe(error.exceptions[0])}" if isinstance(error, BaseExceptionGroup) else line


def to_adapter_error(error: BaseException, what: str) -> AdapterError | KeyboardInterrupt:
    """Return the exception to raise instead of `error`.

    It is an AdapterError of one line that begins with `what` and names type, text and place. For the user's interrupt,
    also inside a group, it is KeyboardInterrupt.
    """
    if isinstance(error, KeyboardInterrupt) or (
        isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt) is not None
    ):
        return KeyboardInterrupt()
    return AdapterError(f"{what} {describe(error)}{find_user_line(error)}; MRB_TRACEBACK=1 shows all of it")


def find_user_line(error: BaseException) -> str:
    """Return ` (file.py, line 7)`: the innermost line of the user's code in the traceback, or "" if there is none.

    The user's code is neither MRB nor the standard library nor an installed package. For an installed adapter it is the
    innermost line outside MRB.
    """
    for part in (*_list_members(error), error, error.__cause__):
        if part is not None and (found := _format_last_line(part)):
            return found
    return ""


def _list_members(error: BaseException) -> list[BaseException]:
    """Return the first member of a group, preceded by its own first members, the innermost first."""
    return [*_list_members(error.exceptions[0]), error.exceptions[0]] if isinstance(error, BaseExceptionGroup) else []


def _format_last_line(error: BaseException) -> str:
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
