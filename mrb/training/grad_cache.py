"""One part of a training step: the documents of some queries through the model, chunk by chunk, and back.

Each distinct image goes through the vision tower once. A loss that compares documents takes two passes if they do not
fit into one chunk (`TwoPass`); any other is split freely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from mrb.data.items import ImageHandle
from mrb.engine.backbone import Row, row_of
from mrb.engine.batching import batches
from mrb.engine.image_features import Features
from mrb.engine.prompt import Prompt
from mrb.errors import TrainingError
from mrb.training.losses import Contrastive, Group, OnePass, Supervised, TwoPass, Unified, split_groups

Loss = Contrastive | Supervised | Unified
Logits = tuple[Tensor, Tensor]
Forward = Callable[[Sequence[Row], Mapping[str, Features]], Logits]


class Plan(Protocol):
    """What gives a chunk of documents its share of the loss: `OnePass`, `TwoPass`."""

    def chunk(self, part: slice | Tensor, yes: Tensor, no: Tensor) -> Tensor:
        """The share, a scalar to go backward from."""


@dataclass(frozen=True)
class Batch:
    """The documents of some queries, one query after the other: prompts, bool[documents], documents of each query.

    `missing` negatives were wanted and not there.
    """

    prompts: Sequence[Prompt]
    labels: Tensor
    sizes: Sequence[int]
    missing: int = 0

    @property
    def images(self) -> list[ImageHandle]:
        """The images of all prompts, as they come."""
        return [placed.image for prompt in self.prompts for placed in prompt.images]

    @property
    def tokens(self) -> int:
        """What the language model reads, without padding."""
        return sum(len(prompt.ids) for prompt in self.prompts)


@dataclass(frozen=True)
class Done:
    """What a part of a step gave: its share of the step's loss, the logits of its documents, and, where two passes were
    made, the largest difference between them."""

    value: Tensor
    groups: tuple[Group, ...]
    drift: float


@dataclass(frozen=True)
class Stepper:
    """Does a part of a step: computes the loss of a batch and puts its gradient into the parameters.

    `forward` is the model as it is wrapped for several processes, `backward` goes back from a scalar. All but the last
    chunk are gone through inside of `apart()`, where processes do not meet. `queries`: those of the whole step, by
    which the sum over queries is divided.
    """

    loss: Loss
    forward: Forward
    backward: Callable[[Tensor], None]
    apart: Callable[[], AbstractContextManager[None]]
    chunk_tokens: int
    queries: int

    def __call__(self, batch: Batch, features: Mapping[str, Features]) -> Done:
        """Forward and backward of a batch. TrainingError if the loss is not a finite number."""
        rows = [row_of(prompt, features) for prompt in batch.prompts]
        labels = batch.labels
        parts = chunks(batch, self.chunk_tokens)
        leaves = {key: _cut(one) for key, one in features.items()} if len(parts) > 1 else dict(features)
        plan, first = self._plan(batch, rows, parts, leaves)
        drift = 0.0
        total: Tensor | None = None
        found: list[Logits] = []
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            with nullcontext() if last else self.apart():
                yes, no = self.forward([rows[i] for i in part.tolist()], features if last else leaves)
                scalar = plan.chunk(part, yes, no)
                if last:
                    scalar = scalar + _surrogate(features, leaves) + _unseen(features, batch)
                if not scalar.isfinite():
                    raise TrainingError(
                        f"the loss is {scalar.item()}: lower schedule.learning_rate, or look at the data"
                    )
                self.backward(scalar)
            if isinstance(plan, TwoPass):
                drift = max(drift, plan.drift(part, yes, no))
            total = scalar.detach() if total is None else total + scalar.detach()
            found.append((yes.detach(), no.detach()))
        assert total is not None
        yes, no = first or _in_order(found, parts)
        return Done(total, split_groups(yes, no, labels, batch.sizes), drift)

    def _plan(
        self, batch: Batch, rows: Sequence[Row], parts: Sequence[Tensor], features: Mapping[str, Features]
    ) -> tuple[Plan, Logits | None]:
        """The plan, and the logits of a first pass if one was made."""
        if self.loss.pointwise:
            assert not isinstance(self.loss, Contrastive)
            return OnePass(self.loss, batch.labels, batch.sizes, self.queries), None
        if len(parts) == 1:
            return _Whole(self.loss, batch, self.queries), None
        with torch.no_grad():
            found = [self.forward([rows[i] for i in part.tolist()], features) for part in parts]
        yes, no = _in_order(found, parts)
        groups = split_groups(yes, no, batch.labels, batch.sizes)
        return TwoPass(self.loss, groups, self.queries), (yes, no)


@dataclass(frozen=True)
class _Whole:
    """The plan of a batch that is one chunk: one graph."""

    loss: Loss
    batch: Batch
    queries: int

    def chunk(self, part: slice | Tensor, yes: Tensor, no: Tensor) -> Tensor:
        assert isinstance(part, Tensor)
        yes, no = _in_order([(yes, no)], [part])
        return self.loss(split_groups(yes, no, self.batch.labels, self.batch.sizes), self.queries)


def chunks(batch: Batch, tokens: int) -> list[Tensor]:
    """The documents (their numbers, int64) that go through the model together, longest first."""
    lengths = [len(prompt.ids) for prompt in batch.prompts]
    return [torch.tensor(part, device=batch.labels.device) for part in batches(lengths, tokens)]


def _in_order(found: Sequence[Logits], parts: Sequence[Tensor]) -> Logits:
    """Logits of chunks as logits [documents] in their order; gradients flow through."""
    back = torch.argsort(torch.cat(list(parts)))
    yes, no = (torch.cat([logits[i] for logits in found])[back] for i in (0, 1))
    return yes, no


def _tensors(features: Features) -> Iterator[Tensor]:
    yield features.embeds
    yield from features.deep


def _cut(features: Features) -> Features:
    """The same values, where gradients stop and are gathered."""
    embeds, *deep = (values.detach().requires_grad_(values.requires_grad) for values in _tensors(features))
    return replace(features, embeds=embeds, deep=tuple(deep))


def _surrogate(features: Mapping[str, Features], leaves: Mapping[str, Features]) -> Tensor | float:
    """A term of value 0 whose gradient by the features is what earlier chunks gathered at their leaves: so the tower is
    gone back through once, with the last chunk."""
    total: Tensor | float = 0.0
    for key, one in features.items():
        for live, leaf in zip(_tensors(one), _tensors(leaves[key]), strict=True):
            if leaf is not live and leaf.grad is not None:
                total = total + (leaf.grad * (live - live.detach())).sum()
    return total


def _unseen(features: Mapping[str, Features], batch: Batch) -> Tensor | float:
    """0, tied to features that no prompt shows: processes that meet after a step must all have been through the tower,
    also one whose batch has no image."""
    shown = {image.sha256 for image in batch.images}
    total: Tensor | float = 0.0
    for key in features.keys() - shown:
        total = total + 0 * features[key].embeds.sum()
    return total
