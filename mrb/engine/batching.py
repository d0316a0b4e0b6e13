"""Batching by a token budget, longest first, and the choice of the budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mrb.errors import AdapterError

if TYPE_CHECKING:
    from mrb.engine.backbone import Backbone

CPU_TOKENS = 512
"""Small batches stay in a CPU's caches; measured by benchmarks/engine.py."""
LARGEST_TOKENS = 65_536
_PROBE_TOKENS = 1024
_SHARE_OF_FREE = 0.5
_SHARE_OF_FORWARD = 1 / 16
"""Fixed cost of a forward pass (reading all weights once), as a fraction of the token budget."""


def make_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Split the positions of `lengths` into batches with rows x longest row <= `budget` (a batch has at least one row).

    Among all such splits of the length-sorted order, return the cheapest: padding traded against the fixed cost of one
    more forward pass. The longest come first, so that an out-of-memory error shows at once.
    """
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable").tolist()
    cost = [0.0]  # lowest cost of the first n rows
    begins = [0]  # start of the last batch among the first n rows
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


def probe_token_budget(backbone: Backbone) -> int:
    """Return the token budget for the model's device.

    On a CPU this is a constant. On a GPU it is what half of the free memory holds, measured with one forward pass and
    rounded down to a power of two, so that a restart gets the same value.
    """
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


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error means that a device or the machine ran out of memory."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
