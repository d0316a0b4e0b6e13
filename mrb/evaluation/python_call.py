"""The call of `mrb.evaluate` as the record of its run holds it, in place of a command line."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mrb._util.redact import redact
from mrb.errors import to_one_line

_COMMAND_LENGTH = 4000
"""Most characters of a command in the record of a run (`mrb.results.schema.RunRecord`)."""


def describe_call(model: object, **given: object) -> tuple[str, ...]:
    """Return the call for the record of the run."""
    shown = (
        repr(os.fspath(model))
        if isinstance(model, str | os.PathLike)
        else f"<{getattr(model, '__name__', type(model).__name__)}>"
    )
    plain = {name: _make_plain(value) for name, value in given.items() if value is not None}
    words = [shown, *(f"{name}={value!r}" for name, value in redact(plain).items())]
    return (to_one_line(f"mrb.evaluate({', '.join(words)})", _COMMAND_LENGTH),)


def _make_plain(value: object) -> object:
    """Return a value as a record may show it: of an object only its class, as its `repr` may hold secrets."""
    if isinstance(value, bool | int | float | str | None):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(name): _make_plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_make_plain(inner) for inner in value]
    return f"<{getattr(value, '__name__', type(value).__name__)}>"
