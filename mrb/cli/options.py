"""Reading options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mrb._util.files import is_device_name
from mrb._util.redact import redact_text
from mrb.errors import MRBError


def key_values(options: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a dictionary; MRBError for one without a key, or a key given twice.

    `NAME.KEY` sets an option of one among several adapters.
    """
    found: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or not key.rpartition(".")[2].isidentifier():
            raise MRBError(f"--set {redact_text(option)}: wanted KEY=VALUE, the key a Python name")
        if key in found:
            raise MRBError(f"--set {key}=...: given twice")
        found[key] = value
    return found


def run_name(name: str | None) -> str | None:
    """A run folder's name as given, if it is one: letters, digits, '.', '_', '-', not starting with a dot.

    MRBError for any other, and for a name that Windows keeps for a device.
    """
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", name):
        raise MRBError(f"--name {name}: wanted letters, digits, '.', '_', '-', starting with a letter or digit")
    if name is not None and is_device_name(name):
        raise MRBError(f"--name {name}: Windows keeps this name for a device")
    return name
