"""Validation of settings shared by losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from mrb.errors import TrainingError

Reduction = Literal["sum", "mean"]
"""How the documents of one query are combined.

The mean over n documents is 1/n of the sum, so its steps are smaller too.
"""


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """Raise TrainingError unless `value` is one of `known`."""
    if value not in known:
        raise TrainingError(f"{name} is {value!r}: give one of {', '.join(known)}")


def check_positive(name: str, value: float) -> None:
    """Raise TrainingError unless `value` is a finite number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise TrainingError(f"{name} is {value}: give a finite number above 0")


def check_tau(tau: float) -> None:
    """Raise TrainingError unless `tau` is in [0, 1)."""
    if not 0 <= tau < 1:
        raise TrainingError(f"tau is {tau}: give a number from 0 up to, but not including, 1")


def step_queries(given: int, queries: int | None) -> int:
    """Return the divisor of a sum over queries: `queries`, or `given` by default.

    Raises TrainingError if it is below `given`.
    """
    if given == 0:
        raise TrainingError("no groups: a loss needs at least one query")
    if queries is None:
        return given
    if queries < given:
        raise TrainingError(f"queries is {queries}, but {given} groups are given: count those of the whole step")
    return queries
