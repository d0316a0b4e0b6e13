"""Batching by a token budget, longest first, and the choice of the budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mrb.errors import AdapterError

if TYPE_CHECKING:
    from mrb.engine.backbone import Backbone
    from mrb.engine.stats import Stats

T = TypeVar("T")
R = TypeVar("R")

CPU_TOKENS = 512
"""Small batches stay in a CPU's caches; measured by benchmarks/engine.py."""
LARGEST_TOKENS = 65_536
_PROBE_TOKENS = 1024
_SHARE_OF_FREE = 0.5
_SHARE_OF_FORWARD = 1 / 16
"""Fixed cost of a forward pass (reading all weights once), as a fraction of the token budget."""


def pack_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Split the positions of `lengths` into batches of at most `budget` tokens (a batch has at least one row).

    For rows without padding. The longest come first, so that an out-of-memory error shows at once.
    """
    found: list[list[int]] = []
    room = 0
    for place in _sort_longest_first(lengths):
        if not found or lengths[place] > room:
            found.append([])
            room = budget
        found[-1].append(place)
        room -= lengths[place]
    return found


def make_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Split the positions of `lengths` into batches with rows x longest row <= `budget` (a batch has at least one row).

    For padded rows. Among all such splits of the length-sorted order, return the cheapest: padding traded against the
    fixed cost of one more forward pass. The longest come first, as in `pack_batches`.
    """
    order = _sort_longest_first(lengths)
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


def _sort_longest_first(lengths: Sequence[int]) -> list[int]:
    order: list[int] = np.argsort(-np.asarray(lengths, np.int64), kind="stable").tolist()
    return order


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
        backbone.pool_hidden([Row(np.zeros(_PROBE_TOKENS, np.int64), (), positions)], {})
    except torch.OutOfMemoryError as error:
        raise AdapterError(f"the GPU has no room for the model and {_PROBE_TOKENS} tokens") from error
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


class BatchRunner:
    """Runs prompts through a backbone in batches of at most `batch_tokens`: tokens, or rows x longest row if padded.

    The budget is halved whenever memory runs out.
    """

    unit = "prompt"

    def __init__(self, backbone: Backbone, batch_tokens: int, stats: Stats) -> None:
        self.backbone = backbone
        self.batch_tokens = batch_tokens
        self.stats = stats

    def run_batches(
        self,
        ordered: Sequence[T],
        length: Callable[[T], int],
        place: Callable[[T], tuple[int, ...]],
        compute: Callable[[list[T]], R],
    ) -> Iterator[tuple[list[T], R]]:
        """Yield (batch, result of `compute`). `ordered` are the inputs, longest first, `length` their tokens.

        Raises AdapterError, with the input's `place`, if one does not fit into memory alone.
        """
        waiting = list(ordered)
        split = pack_batches if self.backbone.packs else make_batches
        while waiting:
            for batch in split([length(one) for one in waiting], self.batch_tokens):
                chosen = waiting[: len(batch)]  # already sorted: a batch is a slice from the front
                try:
                    result = compute(chosen)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    self._halve_budget([length(one) for one in chosen], place(chosen[0]), error)
                    break
                yield chosen, result
                del waiting[: len(batch)]

    def _halve_budget(self, lengths: Sequence[int], place: tuple[int, ...], error: BaseException) -> None:
        if len(lengths) == 1:
            refusal = AdapterError(f"one {self.unit} of {lengths[0]} tokens does not fit into memory; lower max_length")
            refusal.place = place
            raise refusal from error
        self.batch_tokens = max(1, self.backbone.count_computed(lengths) // 2)
        self.stats.halvings += 1
        if self.backbone.device.type == "cuda":
            import torch

            torch.cuda.empty_cache()
