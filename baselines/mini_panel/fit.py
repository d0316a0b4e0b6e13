"""The training loop that the networks of mini-panel share, with progress lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)
_SECONDS = 20.0  # between two lines


def fit_network(
    part: str,
    net: nn.Module,
    steps: int,
    compute_loss: Callable[[], Tensor],
    *,
    rate: float,
    decay: float,
    warmup: float,
    clip: float | None = None,
) -> None:
    """Train a network with AdamW and one cycle of the learning rate; log loss, rate and time left now and then.

    Args:
        part: Name of the part, for the log.
        net: The network. It is ready for scoring afterwards.
        steps: Number of steps.
        compute_loss: Draws a batch and returns its loss.
        rate: Highest learning rate.
        decay: Weight decay.
        warmup: Share of the steps in which the learning rate rises.
        clip: Largest norm of the gradient, None for any.
    """
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=warmup)
    began = said = time.monotonic()
    for step in range(1, steps + 1):
        loss = compute_loss()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        schedule.step()
        now = time.monotonic()
        if now - said >= _SECONDS or step == steps:
            said, speed = now, step / (now - began)
            logger.info(
                f"{part}: step {step}/{steps}, loss {loss.item():.3f}, {speed:.1f} steps/s, "
                f"{(steps - step) / speed:.0f} s left"
            )
    net.eval()
