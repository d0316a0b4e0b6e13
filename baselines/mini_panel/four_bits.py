"""Weights in four bits: groups of values in a row share a scale."""

from __future__ import annotations

import torch
from torch import Tensor

GROUP = 32
"""Values that share a scale, float16: half a bit more a value."""
_MOST = 7  # levels are -7 to 7
_SHRINK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


def pack_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return (uint8[rows, columns / 2], float16[rows, columns / GROUP]) of float32[rows, columns].

    Each scale is the one of a few, from the group's greatest value downwards, with the smallest squared error.
    """
    groups = weight.float().reshape(len(weight), -1, GROUP)
    greatest = groups.abs().amax(-1, keepdim=True).clamp_min(1e-6) / _MOST
    scales, errors = greatest, torch.full_like(greatest, torch.inf)
    for factor in _SHRINK:
        tried = (greatest * factor).half().float()
        error = (_round(groups, tried) * tried - groups).square().sum(-1, keepdim=True)
        scales, errors = torch.where(error < errors, tried, scales), torch.minimum(error, errors)
    levels = (_round(groups, scales) + _MOST).reshape(len(weight), -1).to(torch.uint8)
    return levels[:, ::2] | levels[:, 1::2] << 4, scales.squeeze(-1).half()


def unpack_weight(packed: Tensor, scales: Tensor) -> Tensor:
    """Return the float32[rows, columns] that `pack_weight` kept."""
    levels = torch.stack([packed & 15, packed >> 4], -1).reshape(len(packed), -1, GROUP).float() - _MOST
    return (levels * scales.float().unsqueeze(-1)).reshape(len(packed), -1)


def _round(groups: Tensor, scales: Tensor) -> Tensor:
    return (groups / scales).round().clamp(-_MOST, _MOST)
