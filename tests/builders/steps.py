"""One training step of a small model: the gradients that it leaves, and whether two of them are equal."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from mrb.training.dataset import Batch
from mrb.training.grad_cache import MicroBatchStep, StepResult
from mrb.training.model import Learner
from mrb.training.recipe import Recipe
from mrb.training.run import Components
from mrb.training.trainer import build_loss

LOSSES = {
    "supervised": ["loss.name=supervised", "loss.positive_weight=2.0"],
    "contrastive": ["loss.name=contrastive", "model.layout=gmr-cl"],
    "listwise": ["loss.name=listwise", "loss.target=grades"],
    "unified cl sft": ["loss.name=unified", "loss.weight=cl", "loss.direction=sft"],
    "unified sft cl": ["loss.name=unified", "loss.weight=sft", "loss.direction=cl", "model.layout=gmr-cl"],
}


def warm(learner: Learner) -> None:
    """Move LoRA off its start, where half of it has no gradient."""
    generator = torch.Generator().manual_seed(1)
    for name, values in learner.list_trained():
        if "lora_B" in name:
            with torch.no_grad():
                values.copy_(0.05 * torch.randn(values.shape, generator=generator))


def stepped(
    recipe: Recipe,
    parts: Components,
    batch: Batch,
    chunk_tokens: int,
    queries: int | None = None,
    share: bool = False,
) -> tuple[StepResult, dict[str, Tensor]]:
    """A part of a step and the gradients that it left."""
    learner, extractor = parts.learner.train(), parts.extractor
    learner.zero_grad()
    trained = recipe.tuning.vision == "trained"
    assert extractor is not None
    with nullcontext() if trained else torch.no_grad():
        features = extractor.fresh(batch.images) if trained else extractor.features(batch.images)
    step = MicroBatchStep(
        build_loss(recipe.loss),
        forward=learner,
        backward=lambda scalar: scalar.backward(),
        no_sync=nullcontext,
        chunk_tokens=chunk_tokens,
        queries=queries or len(batch.sizes),
        share=share,
    )
    done = step(batch, features)
    return done, {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in learner.list_trained()}


def equal(found: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float = 2e-4) -> None:
    size = max(float(grad.abs().max()) for grad in wanted.values())
    assert size > 1e-3
    for name, grad in wanted.items():
        assert float((found[name] - grad).abs().max()) <= tolerance * size, name
