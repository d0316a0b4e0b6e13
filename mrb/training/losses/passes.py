"""Losses over documents that do not fit into memory together: the same gradient, computed chunk by chunk.

The documents of all groups are numbered in order, group after group. `chunk_loss` gives each chunk a scalar to call
`backward` on. If the chunks hold every document once, the scalars add up to the loss and their gradients to its
gradient. Memory is that of one chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from mrb.errors import TrainingError
from mrb.training.losses.group import Documents, Group, count_queries, split_groups


class GroupLoss(Protocol):
    """A loss of whole groups: `Contrastive`, `Supervised`, `Unified`, `Listwise`."""

    @property
    def pointwise(self) -> bool:
        """Whether a document's term is independent of the other documents of its query."""

    def __call__(self, groups: Sequence[Group], queries: int | None = None) -> Tensor:
        """Return the loss, a scalar: the sum over `groups` divided by `queries` (default: their number)."""


class PointwiseLoss(GroupLoss, Protocol):
    """A loss that is a sum over documents. `pointwise` may depend on its settings."""

    def terms(self, documents: Documents) -> Tensor:
        """Return each document's contribution to its query's loss, [n]."""


class OnePass:
    """Chunks of a pointwise loss, in which a document's term is independent of the others.

    ```python
    import torch
    from mrb.training.losses import OnePass, Supervised

    plan = OnePass(Supervised(), labels=torch.tensor([True, False, False]), sizes=[3])
    yes, no = torch.tensor([2.0, 0.0, 1.0], requires_grad=True), torch.zeros(3)
    for part in (slice(0, 2), slice(2, 3)):
        plan.chunk_loss(part, yes[part], no[part]).backward()
    print([round(value, 4) for value in yes.grad.tolist()])  # [-0.1192, 0.5, 0.7311]
    ```

    Args:
        loss: The loss.
        labels: For all documents, bool [n], true for a relevant one.
        sizes: Number of documents per query, in order.
        queries: Queries of the whole step (default: those of `sizes`).

    Raises:
        TrainingError: The loss is not pointwise; otherwise like `split_groups`.
    """

    def __init__(self, loss: PointwiseLoss, labels: Tensor, sizes: Sequence[int], queries: int | None = None) -> None:
        if not loss.pointwise:
            raise TrainingError("this loss compares the documents of a query: use TwoPass")
        self._queries = count_queries(len(sizes), queries)
        self._loss = loss
        unseen = torch.zeros(labels.shape, device=labels.device)
        documents = Documents.of(split_groups(unseen, unseen, labels, sizes))
        self._labels, self._sizes = documents.labels, documents.sizes

    def chunk_loss(self, part: slice | Tensor, yes: Tensor, no: Tensor) -> Tensor:
        """Return what a chunk adds to the loss, a scalar.

        Args:
            part: The chunk's documents: a slice, or their numbers, int64 [n].
            yes: Their logits z_yes, [n].
            no: Their logits z_no, [n].
        """
        return self._loss.terms(Documents(yes, no, self._labels[part], self._sizes[part])).sum() / self._queries


class TwoPass:
    """Chunks of any loss, from the logits of a first pass without gradients (gradient caching, arXiv 2101.06983).

    A loss depends on the model only through the logits. So its derivatives by the first pass's logits, held constant,
    give every chunk its exact gradient by the chain rule: the sum over i of (dL/dz_i) (dz_i/dtheta), one chunk at a
    time. For CL and URL these derivatives are the detached, signed weights. The cost is one more forward pass. Both
    passes must compute the same: no dropout, or the same random state again. `measure_drift` checks that.

    ```python
    import torch
    from mrb.training.losses import Contrastive, Group, TwoPass

    yes, no = torch.tensor([2.0, 0.0, 1.0], requires_grad=True), torch.zeros(3)
    group = Group(yes.detach(), no, torch.tensor([True, False, False]))
    plan = TwoPass(Contrastive(), [group])
    for part in (slice(0, 2), slice(2, 3)):
        plan.chunk_loss(part, yes[part], no[part]).backward()
    print(round(plan.value.item(), 4))  # 0.4076
    print([round(value, 4) for value in yes.grad.tolist()])  # [-0.3348, 0.09, 0.2447]
    ```

    Args:
        loss: The loss.
        groups: The groups with the logits of the first pass.
        queries: Queries of the whole step (default: the number of `groups`).
    """

    def __init__(self, loss: GroupLoss, groups: Sequence[Group], queries: int | None = None) -> None:
        first = Documents.of(groups)
        self._yes, self._no = first.yes.detach().clone(), first.no.detach().clone()
        with torch.enable_grad():
            logits = [values.clone().requires_grad_() for values in (self._yes, self._no)]
            sizes = [len(group) for group in groups]
            parts = zip(*(torch.split(values, sizes) for values in logits), strict=True)
            known = [replace(group, yes=yes, no=no) for group, (yes, no) in zip(groups, parts, strict=True)]
            value = loss(known, queries)
            slopes = torch.autograd.grad(value, logits, allow_unused=True, materialize_grads=True)
        self._yes_slope, self._no_slope = slopes
        self.value = value.detach()
        """The loss of the whole step, a scalar without gradient."""

    def chunk_loss(self, part: slice | Tensor, yes: Tensor, no: Tensor) -> Tensor:
        """Return the chunk's scalar; arguments as of `OnePass.chunk_loss`.

        Its gradient is the chunk's own contribution; its value is the whole loss times the chunk's fraction of the
        documents.
        """
        self._check(part, yes, no)
        slope = (self._yes_slope[part] * (yes - yes.detach()) + self._no_slope[part] * (no - no.detach())).sum()
        return slope + self.value * (len(yes) / len(self._yes))

    def measure_drift(self, part: slice | Tensor, yes: Tensor, no: Tensor) -> float:
        """Return the largest difference of a logit from the first pass; 0 for a model that repeats exactly."""
        self._check(part, yes, no)
        with torch.no_grad():
            return float(torch.maximum((yes - self._yes[part]).abs(), (no - self._no[part]).abs()).max())

    def _check(self, part: slice | Tensor, yes: Tensor, no: Tensor) -> None:
        wanted = self._yes[part].shape
        if yes.shape != wanted or no.shape != wanted:
            shapes = f"yes {list(yes.shape)}, no {list(no.shape)}"
            raise TrainingError(f"a chunk of {wanted[0]} documents has logits of shapes {shapes}")
