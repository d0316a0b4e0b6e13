"""Migrate older versions of `submission.json` to the newest: one pure function per step, each with a fixture in the
tests.

Version 1 is the first. A change of the schema raises `SCHEMA_VERSION`, adds the step from the previous version to
`STEPS`, and leaves a file of that version in `tests/submission/versions/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mrb.errors import ResultError, to_one_line
from mrb.submission.schema import SCHEMA_VERSION

Step = Callable[[dict[str, Any]], dict[str, Any]]

STEPS: Mapping[int, Step] = {}
"""Step from version n to n + 1: takes a value, leaves it unchanged, and returns the new value."""


def migrate_to_newest(
    value: object, where: str, steps: Mapping[int, Step] = STEPS, newest: int = SCHEMA_VERSION
) -> object:
    """Return `value` migrated to version `newest`.

    Raises ResultError if it has no version, a newer one, or one that is no longer read.
    """
    if not isinstance(value, dict):
        raise ResultError(f"{where}: not an object")
    version = value.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise ResultError(f"{where}: schema_version is {to_one_line(repr(version), 40)}, wanted a whole number")
    while version < newest and version in steps:
        value, version = steps[version](value), version + 1
    if version != newest:
        words = "newer than" if version > newest else "older than what is read by"
        raise ResultError(f"{where}: schema_version {to_one_line(version, 40)} is {words} this MRB ({newest})")
    return value
