"""Batches by a budget of tokens, longest first, and how large the budget may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mrb.errors import AdapterError

if TYPE_CHECKING:
    from mrb.engine.backbone import Backbone

CPU_TOKENS = 512
"""On a CPU small batches stay in its caches; benchmarks/engine.py measures this."""
LARGEST_TOKENS = 65_536
_PROBE_TOKENS = 1024
_SHARE_OF_FREE = 0.5
_SHARE_OF_FORWARD = 1 / 16
"""What a forward costs beside its tokens (reading all weights once), as a part of the budget."""


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Positions into `lengths`, longest first, cut so that rows x longest row stays within `budget` (one row at least).

    Of all such cuts the one that computes least: padding against the fixed cost of one more forward. Long ones come
    first, so that what does not fit into memory shows at once.
    """
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable").tolist()
    cost = [0.0]  # of the first n, at best
    begins = [0]  # where the last batch of the first n begins
    for end in range(1, len(order) + 1):
        least, begin = float("inf"), end - 1
        for start in range(end - 1, -1, -1):
            tokens = (end - start) * lengths[order[start]]
            if tokens > budget and start < end - 1:
                break
            if cost[start] + tokens < least:
                least, begin = cost[start] + tokens, start
        cost.append(least + _SHARE_OF_FORWARD * budget)
        begins.append(begin)
    found: list[list[int]] = []
    end = len(order)
    while end:
        found.append(order[begins[end] : end])
        end = begins[end]
    return found[::-1]


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
