"""Keep the training mode of a user's model while it is evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def keep_training_mode(model: Any) -> Iterator[None]:
    """Restore the training mode of each part of a torch module: a user may keep some parts in evaluation mode."""
    modes = [(part, part.training) for part in model.modules()]
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
