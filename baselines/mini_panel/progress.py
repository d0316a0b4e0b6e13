"""Progress lines of the training."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from torch import Tensor

logger = logging.getLogger(__name__)
_SECONDS = 20.0  # between two lines


def log_steps(part: str, steps: int) -> Iterator[Callable[[Tensor], None]]:
    """Yield, for each step, a function that is told the step's loss; log loss, rate and time left now and then."""
    began = said = time.monotonic()
    for step in range(1, steps + 1):
        losses: list[Tensor] = []
        yield losses.append
        now = time.monotonic()
        if now - said >= _SECONDS or step == steps:
            said, rate = now, step / (now - began)
            logger.info(
                f"{part}: step {step}/{steps}, loss {losses[-1].item():.3f}, {rate:.1f} steps/s, "
                f"{(steps - step) / rate:.0f} s left"
            )
