"""Attention over rows that lie one after another in one sequence, without padding, and over one prefix for all of them.

The rows' own tokens and the prefix are attended to apart; the two results are merged by their log-sum-exps, which is
exact (cascade attention; arXiv 2501.01005, section 2.2). The prefix's keys and values are read where they are: they are
never copied for each row, nor for the query heads that share a key head.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import torch
from transformers import AttentionInterface

_LOG = logging.getLogger("mrb.engine")
NAME = "mrb_packed"
Prefix = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""Keys and values [1, key heads, tokens, head size] by layer."""
Found = tuple[torch.Tensor, torch.Tensor]
"""Result [1, heads, tokens, head size] and log-sum-exps float32 [1, heads, tokens]."""
Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, bool, float], Found]
"""`query`, `key`, `value` of one row with equally many heads, whether causal, scale of the logits."""
_UNKNOWN = ("softcap", "sliding_window", "s_aux", "position_bias")
"""Arguments of other attention functions that change the result."""


@dataclass(frozen=True)
class Packed:
    """What the attention of one forward pass needs.

    `lengths` are the rows' tokens; `prefix` precedes every row; `kept`, if given, receives the keys and values of each
    layer; `kernel` is a key of `KERNELS`, or "flash".
    """

    lengths: tuple[int, ...]
    causal: bool
    kernel: str
    prefix: Prefix | None = None
    kept: Prefix | None = None
    device: torch.device | None = None

    @cached_property
    def ends(self) -> torch.Tensor:
        """int32[rows + 1] on the device: where each row ends, from 0. Copied there once for all layers."""
        return torch.tensor((0, *self.lengths), dtype=torch.int32).cumsum(0, dtype=torch.int32).to(self.device)


def can_pack(decoder: Any) -> bool:
    """Return whether a decoder's attention can be replaced by this one: all layers attend to all tokens, by SDPA."""
    config = decoder.config
    kinds = getattr(config, "layer_types", None) or ()
    return (
        bool(getattr(decoder, "_supports_attention_backend", False))
        and config._attn_implementation == "sdpa"
        and all(kind == "full_attention" for kind in kinds)
        and not getattr(config, "sliding_window", None)
        and not getattr(config, "attn_logit_softcapping", None)
    )


@contextmanager
def use_packed_attention(decoder: Any) -> Iterator[None]:
    """Let a decoder attend by `attend_packed`; it takes a `Packed` as the argument `packed`."""
    config = decoder.config
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def attend_packed(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    packed: Packed,
    scaling: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Return [1, tokens, heads, head size], with the signature that transformers' `AttentionInterface` asks for.

    Raises ValueError for a mask or for an argument that this attention does not know.
    """
    unknown = [name for name in _UNKNOWN if others.get(name) is not None]
    if attention_mask is not None or unknown:
        raise ValueError(f"packed attention takes no {', '.join(unknown) or 'mask'}")
    kind = query.device.type
    if torch.is_autocast_enabled(kind):  # in training: as autocast does for torch's own attention
        query, key, value = (states.to(torch.get_autocast_dtype(kind)) for states in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if packed.kept is not None:
        packed.kept[module.layer_idx] = key, value
    with torch.autocast(kind, enabled=False):
        out, own = _attend_rows(query, key, value, packed, scale)
        if packed.prefix is not None:
            before, seen = _attend_prefix(query, *packed.prefix[module.layer_idx], packed.kernel, scale)
            share = torch.sigmoid(seen - own)[..., None]
            out = torch.lerp(out.float(), before.float(), share).to(query.dtype)
    return out.transpose(1, 2), None


def _attend_rows(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, packed: Packed, scale: float) -> Found:
    """Let each row attend to itself."""
    if packed.kernel == "flash":
        ends = packed.ends
        longest = max(packed.lengths)
        # [tokens, heads, head size]; keys have fewer heads than queries.
        q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
        out, sums = torch.ops.aten._flash_attention_forward(
            q, k, v, ends, ends, longest, longest, 0.0, packed.causal, False, scale=scale
        )[:2]
        return out.transpose(0, 1)[None], sums[None]
    kernel = KERNELS[packed.kernel]
    groups = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(groups, 1) if groups > 1 else states for states in (key, value))
    rows = zip(*(states.split_with_sizes(packed.lengths, 2) for states in (query, key, value)), strict=True)
    found = [kernel(q, k, v, packed.causal, scale) for q, k, v in rows]
    if len(found) == 1:  # spares two copies
        return found[0]
    outs, sums = zip(*found, strict=True)
    return torch.cat(outs, 2), torch.cat(sums, 2)


def _attend_prefix(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, kernel: str, scale: float) -> Found:
    """Let all tokens attend to all of the prefix."""
    if kernel == "flash":
        q, k, v = (states.transpose(1, 2) for states in (query, key, value))
        out, sums = torch.ops.aten._flash_attention_forward(
            q, k, v, None, None, q.shape[1], k.shape[1], 0.0, False, False, scale=scale
        )[:2]
        return out.transpose(1, 2), sums
    # Query heads that share a key head become further tokens of that head.
    heads = key.shape[1]
    out, sums = KERNELS[kernel](query.reshape(1, heads, -1, query.shape[-1]), key, value, False, scale)
    return out.reshape(query.shape), sums.reshape(query.shape[:3])


def _attend_on_cpu(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float) -> Found:
    found: Found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, scale=scale)
    return found


def _attend_in_blocks(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float) -> Found:
    """xFormers' memory-efficient attention on CUDA, which takes float32; it pads the sums' last dimension."""
    found = torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, None, True, 0.0, causal, scale=scale)
    return found[0], found[1][..., : q.shape[2]]


def _attend_plainly(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float) -> Found:
    logits = q.float() @ k.float().mT * scale  # a float16 product may overflow before it is scaled
    if causal:
        later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        logits = logits.masked_fill(later, -torch.inf)
    return logits.softmax(-1).to(v.dtype) @ v, logits.logsumexp(-1)


KERNELS: dict[str, Kernel] = {
    "cpu": _attend_on_cpu,
    "memory-efficient": _attend_in_blocks,
    "plain": _attend_plainly,
}


def choose_kernel(device: torch.device, dtype: torch.dtype, head_size: int) -> str:
    """Return the fastest way to attend on a device with heads of a size, tried there once against the plain one.

    A way that fails or differs is not used: a warning says so, and `Backbone.description` names what is used.
    """
    if device.type == "cuda":
        kernel = "memory-efficient" if dtype == torch.float32 else "flash"
    else:
        kernel = "cpu" if device.type == "cpu" else "plain"
    refusal = try_kernel(kernel, device, dtype, head_size)
    if refusal:
        _LOG.warning("attention: %s is not used on %s: %s; the plain one is slower", kernel, device, refusal)
        return "plain"
    return kernel


@torch.inference_mode()
def try_kernel(kernel: str, device: torch.device, dtype: torch.dtype, head_size: int) -> str:
    """Return how a kernel fails on small rows behind a prefix, "" if it does not."""
    made = torch.Generator().manual_seed(0)

    def states(heads: int, tokens: int) -> torch.Tensor:
        return torch.randn(1, tokens, heads, head_size, generator=made).to(device, dtype).transpose(1, 2)

    lengths = (33, 1, 20)
    query, key, value = states(4, 54), states(2, 54), states(2, 54)
    prefix = {0: (states(2, 70), states(2, 70))}
    layer = SimpleNamespace(layer_idx=0)
    found = []
    for name in (kernel, "plain"):
        packed = Packed(lengths, True, name, prefix, device=device)
        try:
            found.append(attend_packed(layer, query, key, value, None, packed=packed)[0].float())
        except (RuntimeError, AttributeError, TypeError) as error:
            return str(error).partition("\n")[0]
    differs = (found[0] - found[1]).abs().max().item()
    return "" if differs <= max(16 * torch.finfo(dtype).eps, 1e-5) else f"its results differ by {differs:.1e}"


AttentionInterface.register(NAME, attend_packed)
