"""CL: the InfoNCE loss over a query's own documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mrb.errors import TrainingError
from mrb.training.losses.group import Group, check_positive, count_queries


@dataclass(frozen=True)
class Contrastive:
    """The contrastive loss of a group with one positive 0 and N negatives, of the score s = z_yes:

        L = -log( exp(s_0 / T) / (exp(s_0 / T) + sum_i exp(s_i / T)) )

    InfoNCE (van den Oord et al., arXiv 1807.03748) as arXiv 2510.14824 uses it: only the query's own negatives, none
    from the batch. That paper states no temperature, so T = 1. With several positives the loss is the mean of one such
    term per positive, each against all negatives; the other positives are in no denominator. (That choice is ours; the
    mean is outside the logarithm as in L_out of arXiv 2004.11362.) Calling it returns the mean over queries.

    All documents of a query must be seen together: see `TwoPass` for a group that is too large for that.

    ```python
    import torch
    from mrb.training.losses import Contrastive, Group

    group = Group(torch.tensor([2.0, 0.0, 1.0]), torch.zeros(3), torch.tensor([True, False, False]))
    print(round(Contrastive()([group]).item(), 4))  # 0.4076
    ```

    Args:
        temperature: T, above 0.

    Raises:
        TrainingError: The temperature is not above 0; when called, a group has no negatives.
    """

    temperature: float = 1.0

    pointwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)

    def __call__(self, groups: Sequence[Group], queries: int | None = None) -> Tensor:
        """Return the loss, a scalar: the sum over groups divided by the number of queries.

        Args:
            groups: The groups of a batch.
            queries: Queries of the whole step, if the batch is a part of it (default: the number of `groups`).

        Raises:
            TrainingError: There are no groups, or fewer `queries` than groups.
        """
        divisor = count_queries(len(groups), queries)
        return torch.stack([self._one(group) for group in groups]).sum() / divisor

    def _one(self, group: Group) -> Tensor:
        return -_positive_and_negatives(group, self.temperature).log_softmax(dim=1)[:, 0].mean()


def compute_contrastive_weights(group: Group, temperature: float = 1.0) -> Tensor:
    """Return the magnitude of InfoNCE's gradient by each z_yes, [n], all >= 0.

    The gradient raises positives and lowers negatives. With one positive 0, N negatives, and
    Z = exp(s_0 / T) + sum_j exp(s_j / T):

        W+  = sum_i exp(s_i / T) / (T Z)        W_i- = exp(s_i / T) / (T Z)        so sum_i W_i- = W+

    W+ at T = 1 is in arXiv 2510.14824, W- follows by differentiation. With P positives each has its own Z and 1/P of
    its weights; a negative gets the sum. No gradient flows through the weights. Raises TrainingError like
    `Contrastive`.
    """
    check_positive("temperature", temperature)
    with torch.no_grad():
        # Summed from the negatives' probabilities: 1 - p(positive) would cancel to 0 for a positive with a large
        # margin.
        shares = _positive_and_negatives(group, temperature).softmax(dim=1)[:, 1:]
        weights = torch.empty_like(group.yes)
        weights[group.labels] = shares.sum(dim=1)
        weights[~group.labels] = shares.sum(dim=0)
        return weights / (len(shares) * temperature)


def _positive_and_negatives(group: Group, temperature: float) -> Tensor:
    """Return s / T of each positive followed by all negatives: [positives, 1 + negatives]."""
    scores = group.yes / temperature
    positives, negatives = scores[group.labels], scores[~group.labels]
    if not len(negatives):
        raise TrainingError(f"no negative among {len(group)} documents: a contrastive loss or weight needs one")
    return torch.cat([positives[:, None], negatives.expand(len(positives), -1)], dim=1)
