"""Matrix products of a decoder in 8-bit floats: half the memory of bfloat16, and faster where the device has kernels.

Weights have one scale per output, inputs one per token, so that a row's score does not depend on its batch. The format
is E4M3 (arXiv 2209.05433); no calibration data are needed.
"""

from __future__ import annotations

from typing import Any

import torch

from mrb.errors import AdapterError

NAME = "float8"
"""Value of the option `dtype`."""
_STORED = torch.float8_e4m3fn
_LARGEST = torch.finfo(_STORED).max
_MULTIPLE = 16
"""Both sides of a matrix must be multiples of this for the kernels."""


class Float8Linear(torch.nn.Module):
    """A linear layer whose product is computed in 8-bit floats; its result has the input's dtype."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        weight, scale = _scale_rows(linear.weight.detach())
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.scale = torch.nn.Buffer(scale.T.contiguous())
        self.bias: torch.nn.Parameter | None = linear.bias

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return [..., outputs] of `states` [..., inputs]."""
        rows, scale = _scale_rows(states.reshape(-1, states.shape[-1]))
        # CUDA's kernel for a scale per row gives bfloat16 alone.
        dtype = torch.bfloat16 if states.is_cuda else states.dtype
        found = torch._scaled_mm(rows, self.weight.T, scale_a=scale, scale_b=self.scale, out_dtype=dtype)
        found = found.to(states.dtype).reshape(*states.shape[:-1], -1)
        return found if self.bias is None else found + self.bias


def quantize_linears(decoder: torch.nn.Module) -> None:
    """Replace a decoder's linear layers by `Float8Linear`, on the device where they are.

    Raises AdapterError if a matrix has a size that the kernels do not take, or if the device cannot multiply 8-bit
    floats.
    """
    linears: list[tuple[Any, str, torch.nn.Linear]] = [
        (module, name, layer)
        for module in decoder.modules()
        for name, layer in module.named_children()
        if isinstance(layer, torch.nn.Linear)
    ]
    for _, name, layer in linears:
        if layer.in_features % _MULTIPLE or layer.out_features % _MULTIPLE:
            raise AdapterError(
                f"dtype={NAME}: the matrix {name} has {layer.in_features} x {layer.out_features} values, no multiples "
                f"of {_MULTIPLE}; choose another dtype"
            )
    if not linears:
        raise AdapterError(f"dtype={NAME}: {type(decoder).__name__} has no plain linear layers; choose another dtype")
    for module, name, layer in linears:
        setattr(module, name, Float8Linear(layer))
    first = getattr(linears[0][0], linears[0][1])
    try:
        with torch.inference_mode():
            first(torch.ones(1, linears[0][2].in_features, device=first.weight.device, dtype=torch.bfloat16))
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise AdapterError(f"dtype={NAME}: {first.weight.device} cannot compute it: {reason}") from error


def _scale_rows(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return 8-bit values and the float32 scale [rows, 1] to multiply them by."""
    values = values.float()
    scale = (values.abs().amax(1, keepdim=True) / _LARGEST).clamp_min(torch.finfo(torch.float32).tiny)
    return (values / scale).to(_STORED), scale
