"""Time and work counters of an engine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger("mrb.engine")
PARTS = ("decode", "preprocess", "tokenise", "vision", "prefill", "head")


@dataclass
class Stats:
    """Counters of one engine since its start.

    `seconds` holds the time per part, measured by `clock`; decode and preprocess are summed over threads and overlap
    with the other parts. `tokens` counts what the language model read, `padding` the padding tokens it computed in
    addition, `shared` the tokens it did not compute because a prefix was reused. `cut_prompts` prompts lost
    `cut_tokens` text tokens to the maximum length.
    """

    pairs: int = 0
    batches: int = 0
    tokens: int = 0
    padding: int = 0
    shared: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    cut_prompts: int = 0
    cut_tokens: int = 0
    halvings: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    clock: Callable[[], float] = field(default=time.perf_counter, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, part: str, seconds: float) -> None:
        """Add seconds to a part. Thread-safe."""
        with self._lock:
            self.seconds[part] += seconds

    def count_batch(self, lengths: Sequence[int], pairs: int, computed: int) -> None:
        """Count a batch of rows of these lengths, which answer so many pairs, as so many computed tokens."""
        self.pairs += pairs
        self.batches += 1
        self.tokens += sum(lengths)
        self.padding += computed - sum(lengths)

    def warn_of_cuts(self, name: str, unit: str, max_length: int) -> None:
        """Log how much text the maximum length has cost, if any."""
        if self.cut_prompts:
            _LOG.warning(
                "%s: %d of %d %s lost %d tokens of text to max_length=%d",
                *(name, self.cut_prompts, self.pairs, unit, self.cut_tokens, max_length),
            )

    def synchronised(self, part: str, started: float, device: torch.device) -> None:
        """Add the time since `started` to a part, after waiting for a GPU to finish."""
        if device.type == "cuda":
            import torch

            torch.cuda.synchronize(device)
        self.add(part, self.clock() - started)

    @property
    def padding_share(self) -> float:
        """Padding as a fraction of all computed tokens, 0 to 1."""
        return self.padding / (self.tokens + self.padding) if self.tokens else 0.0
