"""Forward and backward of one micro-batch, chunk by chunk, with gradient caching.

Each distinct image goes through the vision tower once. A loss that compares documents takes two passes if they do not
fit into one chunk (`TwoPass`); any other loss is split freely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from mrb.engine.backbone import Row, group_rows, make_row
from mrb.engine.batching import make_batches
from mrb.engine.prompt import Prompt
from mrb.engine.vision import Features
from mrb.errors import TrainingError
from mrb.training.dataset import Batch
from mrb.training.losses import Contrastive, Group, Listwise, OnePass, Supervised, TwoPass, Unified

Loss = Contrastive | Supervised | Unified | Listwise
Logits = tuple[Tensor, Tensor]
Forward = Callable[[Sequence[Row], Mapping[str, Features]], Logits]


class Plan(Protocol):
    """Computes a chunk's share of the loss: `OnePass`, `TwoPass` or `_Whole`."""

    def chunk_loss(self, part: slice | Tensor, yes: Tensor, no: Tensor) -> Tensor:
        """Return the chunk's share of the loss, a scalar to backpropagate."""


@dataclass(frozen=True)
class StepResult:
    """Result of a micro-batch: its share of the step's loss, the logits of its documents per query, and `drift`.

    `drift` is the largest difference of logits between the two passes, 0 if there was one pass.
    """

    value: Tensor
    groups: tuple[Group, ...]
    drift: float


@dataclass(frozen=True)
class MicroBatchStep:
    """Computes the loss of a micro-batch and accumulates its gradient.

    `forward` is the model as wrapped for several processes, `backward` backpropagates a scalar. All chunks but the last
    run inside `no_sync()`, without synchronising gradients. `queries` is the divisor of the sum over queries:
    this process's queries of the whole step. With `share`, what the prompts of a query have in common before their
    documents is computed once per chunk, with the same gradient.
    """

    loss: Loss
    forward: Forward
    backward: Callable[[Tensor], None]
    no_sync: Callable[[], AbstractContextManager[None]]
    chunk_tokens: int
    queries: int
    share: bool = False

    def __call__(self, batch: Batch, features: Mapping[str, Features]) -> StepResult:
        """Run forward and backward on a batch. Raises TrainingError if the loss is not finite."""
        rows = [make_row(prompt, features) for prompt in batch.prompts]
        parts = split_chunks(batch, self.chunk_tokens)
        if self.share:
            rows = [replace(row, shared=count_shared(p)) for row, p in zip(rows, batch.prompts, strict=True)]
            parts = [torch.tensor(part, device=batch.labels.device) for part in split_families(rows, self.chunk_tokens)]
        leaves = {key: _detach(one) for key, one in features.items()} if len(parts) > 1 else dict(features)
        plan, first = self._make_plan(batch, rows, parts, leaves)
        drift = 0.0
        total: Tensor | None = None
        found: list[Logits] = []
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            with nullcontext() if last else self.no_sync():
                yes, no = self.forward([rows[i] for i in part.tolist()], features if last else leaves)
                scalar = plan.chunk_loss(part, yes, no)
                if last:
                    scalar = scalar + _make_surrogate(features, leaves) + _sum_unseen(features, batch)
                if not scalar.isfinite():
                    raise TrainingError(
                        f"the loss is {scalar.item()}: lower schedule.learning_rate, or look at the data"
                    )
                self.backward(scalar)
            if isinstance(plan, TwoPass):
                drift = max(drift, plan.measure_drift(part, yes, no))
            total = scalar.detach() if total is None else total + scalar.detach()
            found.append((yes.detach(), no.detach()))
        assert total is not None
        yes, no = first or _restore_order(found, parts)
        return StepResult(total, batch.split(yes, no), drift)

    def _make_plan(
        self, batch: Batch, rows: Sequence[Row], parts: Sequence[Tensor], features: Mapping[str, Features]
    ) -> tuple[Plan, Logits | None]:
        """Return the plan, and the logits of a first pass without gradients if one was needed."""
        if self.loss.pointwise:
            assert isinstance(self.loss, Supervised | Unified)
            return OnePass(self.loss, batch.labels, batch.sizes, self.queries), None
        if len(parts) == 1:
            return _Whole(self.loss, batch, self.queries), None
        with torch.no_grad():
            found = [self.forward([rows[i] for i in part.tolist()], features) for part in parts]
        yes, no = _restore_order(found, parts)
        return TwoPass(self.loss, batch.split(yes, no), self.queries), (yes, no)


@dataclass(frozen=True)
class _Whole:
    """Plan of a batch that is one chunk: one autograd graph."""

    loss: Loss
    batch: Batch
    queries: int

    def chunk_loss(self, part: slice | Tensor, yes: Tensor, no: Tensor) -> Tensor:
        assert isinstance(part, Tensor)
        yes, no = _restore_order([(yes, no)], [part])
        return self.loss(self.batch.split(yes, no), self.queries)


def split_chunks(batch: Batch, tokens: int) -> list[Tensor]:
    """Return the chunks of documents that go through the model together, as int64 indices, longest first."""
    lengths = [len(prompt.ids) for prompt in batch.prompts]
    return [torch.tensor(part, device=batch.labels.device) for part in make_batches(lengths, tokens)]


def count_shared(prompt: Prompt) -> int:
    """Return how many tokens of a prompt other prompts may share: up to the seam, without half an image."""
    shared = min(prompt.shared, len(prompt.ids) - 1)
    cut = [image.start for image in prompt.images if image.start < shared < image.start + image.count]
    return min([shared, *cut])


def split_families(rows: Sequence[Row], tokens: int) -> list[list[int]]:
    """Return the chunks of rows that go through the model together, as places, where a shared prefix counts once.

    A chunk has at most so many tokens, or one row. The rows of a family follow one another.
    """
    chunks: list[list[int]] = []
    room = 0
    for prefix, places in group_rows(rows):
        paid = False
        for place in sorted(places, key=lambda place: -len(rows[place].ids)):
            whole = len(rows[place].ids)
            cost = whole - prefix if paid else whole
            if not chunks or cost > room:
                chunks.append([])
                room, cost = tokens, whole
            chunks[-1].append(place)
            room -= cost
            paid = True
    return chunks


def _restore_order(found: Sequence[Logits], parts: Sequence[Tensor]) -> Logits:
    """Concatenate the chunks' logits and return them in document order, float32[documents]; gradients flow through."""
    back = torch.argsort(torch.cat(list(parts)))
    yes, no = (torch.cat([logits[i] for logits in found])[back] for i in (0, 1))
    return yes, no


def _list_tensors(features: Features) -> Iterator[Tensor]:
    yield features.embeds
    yield from features.deep


def _detach(features: Features) -> Features:
    """Return detached copies of the features as leaves, where gradients accumulate."""
    embeds, *deep = (values.detach().requires_grad_(values.requires_grad) for values in _list_tensors(features))
    return replace(features, embeds=embeds, deep=tuple(deep))


def _make_surrogate(features: Mapping[str, Features], leaves: Mapping[str, Features]) -> Tensor | float:
    """Return a term of value 0 whose gradient with respect to the features is what earlier chunks accumulated at the
    leaves.

    So the vision tower is backpropagated through only once, with the last chunk.
    """
    total: Tensor | float = 0.0
    for key, one in features.items():
        for live, leaf in zip(_list_tensors(one), _list_tensors(leaves[key]), strict=True):
            if leaf is not live and leaf.grad is not None:
                total = total + (leaf.grad * (live - live.detach())).sum()
    return total


def _sum_unseen(features: Mapping[str, Features], batch: Batch) -> Tensor | float:
    """Return a zero loss over features that no prompt shows.

    It makes DDP reduce the vision tower also on a process whose batch has no image.
    """
    shown = {image.content_hash for image in batch.images}
    total: Tensor | float = 0.0
    for key in features.keys() - shown:
        total = total + 0 * features[key].embeds.sum()
    return total
