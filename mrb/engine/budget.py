"""Batches by a budget of tokens, longest first, and how large the budget may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mrb.errors import AdapterError

if TYPE_CHECKING:
    from mrb.engine.backbone import Backbone

T = TypeVar("T")

CPU_TOKENS = 512
"""On a CPU small batches stay in its caches; benchmarks/engine.py measures this."""
LARGEST_TOKENS = 65_536
_PROBE_TOKENS = 1024
_SHARE_OF_FREE = 0.5


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Positions into `lengths`, longest first, cut so that rows x longest row stays within `budget` (one row at least).

    The first batch is the largest: what does not fit into memory shows at once.
    """
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable").tolist()
    start = 0
    while start < len(order):
        count = max(1, budget // max(1, lengths[order[start]]))
        yield order[start : start + count]
        start += count


def probed_tokens(backbone: Backbone) -> int:
    """The budget for the model's device: a constant on a CPU; on a GPU what half of its free memory holds, measured
    with one forward, as a power of two (so that it is the same at the next start)."""
    import torch

    if backbone.device.type != "cuda":
        return CPU_TOKENS
    from mrb.engine.backbone import Row

    torch.cuda.reset_peak_memory_stats(backbone.device)
    before = torch.cuda.memory_allocated(backbone.device)
    positions = np.tile(np.arange(_PROBE_TOKENS), (3, 1))
    try:
        backbone.last_hidden([Row(np.zeros(_PROBE_TOKENS, np.int64), (), positions)], {})
    except torch.OutOfMemoryError as error:
        raise AdapterError(f"the GPU has no room for {_PROBE_TOKENS} tokens beside the model") from error
    used = torch.cuda.max_memory_allocated(backbone.device) - before
    free, _ = torch.cuda.mem_get_info(backbone.device)
    fits = int(_SHARE_OF_FREE * free / max(1, used / _PROBE_TOKENS))
    return max(_PROBE_TOKENS, min(LARGEST_TOKENS, 1 << (fits.bit_length() - 1)))


def out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, had no room."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
