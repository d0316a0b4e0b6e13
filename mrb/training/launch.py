"""How this process was started: whether it has a GPU, and what `accelerate` was told that training cannot take."""

from __future__ import annotations

import os

import torch

from mrb.errors import TrainingError

_REFUSED = {
    "FSDP": "ACCELERATE_USE_FSDP",
    "DeepSpeed": "ACCELERATE_USE_DEEPSPEED",
    "Megatron-LM": "ACCELERATE_USE_MEGATRON_LM",
    "a parallelism config": "ACCELERATE_USE_PARALLELISM_CONFIG",
}
"""What splits a model over processes, by the variable that `accelerate launch` sets for it."""


def has_accelerator() -> bool:
    """Return whether training runs on a GPU (CUDA or MPS)."""
    if _is_set("ACCELERATE_USE_CPU"):
        return False
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def refuse_backends() -> None:
    """Raise TrainingError for a backend of accelerate that this training does not run under."""
    for name, variable in _REFUSED.items():
        if _is_set(variable):
            raise TrainingError(
                f"{name} ({variable}) is not supported: training has one whole model per process (DDP); start it by "
                "accelerate launch --multi_gpu, or change accelerate config"
            )
    compiler = os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no")
    if compiler.lower() != "no":
        raise TrainingError(
            f"torch.compile (ACCELERATE_DYNAMO_BACKEND={compiler}) is not supported: use --dynamo_backend no"
        )


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "y", "on", "t")
