"""URL, the unified reranking loss: the weights of one loss with the direction of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from mrb.errors import TrainingError
from mrb.training.losses.contrastive import compute_contrastive_weights
from mrb.training.losses.group import (
    Documents,
    Group,
    Reduction,
    check_choice,
    check_positive,
    check_tau,
    count_queries,
)
from mrb.training.losses.supervised import compute_supervised_weights

Weight = Literal["cl", "cl-scaled", "sft", "base", "masked"]
COMPARING: tuple[Weight, ...] = ("cl", "cl-scaled")
"""Weights of a document that depend on the other documents of its query."""
Direction = Literal["cl", "sft"]


@dataclass(frozen=True)
class Unified:
    """The unified reranking loss: how far each document moves (`weight`) and in which `direction`:

        L = sum over positives of -W+ d(h)  +  sum over negatives of W- d(h)        W is constant: no gradient

    So the gradient by a positive's h is -W+ D and by a negative's +W- D, with D = dd/dh (arXiv 2510.14824).

    `direction`: `cl` is d = z_yes (D = M_yes), `sft` is d = z_yes - z_no (D = M_yes - M_no). Rank by the d that was
    trained. Random trainable rows, separate rows and several tokens per label are other `LabelRows`, with either
    direction.

    `weight`: `cl` (InfoNCE's at `temperature`), `cl-scaled` (those times one factor per query, so that they sum to as
    much as `sft`'s), `sft` (the probability of the wrong label), `base` (all 1), `masked` (1, but 0 for a document that
    is already well classified: W+ = 0 if p_no < tau, W- = 0 if p_yes < tau, p being the two-label probability in either
    direction). The paper's tau is not known to us, so it has no default.

    With reduction `sum` and positive weight 1, (cl, cl) has InfoNCE's gradient and (sft, sft) that of the summed SFT
    loss. `mean` divides a query's terms by its number of documents; `positive_weight` multiplies W+. Calling it returns
    the mean over queries. The value is not that of the true losses and may be negative: log those as well.

    ```python
    import torch
    from mrb.training.losses import Group, Unified

    group = Group(torch.tensor([2.0, 0.0, 1.0]), torch.zeros(3), torch.tensor([True, False, False]))
    loss = Unified("cl", "sft")
    print([round(weight, 4) for weight in loss.weights(group).tolist()])  # [0.3348, 0.09, 0.2447]
    print(round(loss([group]).item(), 4))  # -0.4248
    ```

    Args:
        weight: Name of the weights.
        direction: Name of the direction.
        tau: Threshold of `masked`, in [0, 1); None for other weights.
        temperature: Temperature of `cl` weights, above 0; 1 for other weights.
        reduction: How the documents of a query are combined, `sum` or `mean`.
        positive_weight: Factor of W+, above 0.

    Raises:
        TrainingError: A name is unknown, or a setting is out of its range or does not belong to the weight; when
            called, a group has no negatives for `cl` or `cl-scaled` weights.
    """

    weight: Weight
    direction: Direction
    tau: float | None = None
    temperature: float = 1.0
    reduction: Reduction = "sum"
    positive_weight: float = 1.0

    def __post_init__(self) -> None:
        check_choice("weight", self.weight, get_args(Weight))
        check_choice("direction", self.direction, get_args(Direction))
        check_choice("reduction", self.reduction, get_args(Reduction))
        check_positive("temperature", self.temperature)
        check_positive("positive_weight", self.positive_weight)
        if (self.tau is None) == (self.weight == "masked"):
            raise TrainingError(
                f"tau is {self.tau}, weight is {self.weight!r}: give tau with weight 'masked', only there"
            )
        if self.tau is not None:
            check_tau(self.tau)
        if self.temperature != 1 and self.weight != "cl":
            raise TrainingError(f"temperature is {self.temperature}, but weight {self.weight!r} has none: leave it out")

    @property
    def pointwise(self) -> bool:
        """Whether a document's term is independent of the other documents of its query."""
        return self.weight not in COMPARING

    def __call__(self, groups: Sequence[Group], queries: int | None = None) -> Tensor:
        """Return the surrogate loss, a scalar: the sum over groups divided by the number of queries.

        Args:
            groups: The groups of a batch.
            queries: Queries of the whole step, if the batch is a part of it (default: the number of `groups`).

        Raises:
            TrainingError: There are no groups, or fewer `queries` than groups.
        """
        divisor = count_queries(len(groups), queries)
        weights = torch.cat([self.weights(group) for group in groups])
        return self._weighted(weights, Documents.of(groups)).sum() / divisor

    def terms(self, documents: Documents) -> Tensor:
        """Return each document's part of its query's loss, [n]. Raises TrainingError for weights in `COMPARING`."""
        return self._weighted(self._own_weights(documents.yes, documents.no, documents.labels), documents)

    def weights(self, group: Group) -> Tensor:
        """Return W+ and W- of the group's documents, [n], all >= 0, before positive weight and reduction; detached."""
        if self.weight in COMPARING:
            weights = compute_contrastive_weights(group, self.temperature)
            if self.weight == "cl-scaled":
                wanted = compute_supervised_weights(group.yes, group.no, group.labels).sum()
                weights = weights * (wanted / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny))
            return weights
        return self._own_weights(group.yes, group.no, group.labels)

    def magnitudes(self, groups: Sequence[Group]) -> dict[str, float]:
        """Return the mean W+ over all positives and the mean W- over all negatives (absent if there are none)."""
        weights = torch.cat([self.weights(group) for group in groups])
        labels = Documents.of(groups).labels
        found = {"weight_positive": weights[labels], "weight_negative": weights[~labels]}
        return {name: float(values.mean()) for name, values in found.items() if len(values)}

    def _own_weights(self, yes: Tensor, no: Tensor, labels: Tensor) -> Tensor:
        if self.weight == "sft":
            return compute_supervised_weights(yes, no, labels)
        if self.weight == "base":
            return torch.ones_like(yes)
        if self.tau is not None:
            # SFT's weight is the probability of the wrong label, which the mask compares with tau.
            return (compute_supervised_weights(yes, no, labels) >= self.tau).to(yes.dtype)
        raise TrainingError(f"weight {self.weight!r} compares the documents of a query: use TwoPass")

    def _weighted(self, weights: Tensor, documents: Documents) -> Tensor:
        score = documents.yes if self.direction == "cl" else documents.yes - documents.no
        terms = torch.where(documents.labels, -self.positive_weight * weights * score, weights * score)
        return terms / documents.sizes if self.reduction == "mean" else terms
