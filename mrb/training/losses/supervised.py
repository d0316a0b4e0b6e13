"""SFT: the cross-entropy over the two labels of each document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, get_args

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from mrb.training.losses.group import Documents, Group, Reduction, check_choice, check_positive, count_queries


@dataclass(frozen=True)
class Supervised:
    """The loss of a document is the cross-entropy of its label under a softmax over the two labels only:

        L_i = -log p_yes = -log sigmoid(z_yes - z_no)    if relevant, times `positive_weight`
        L_i = -log p_no  = -log sigmoid(z_no - z_yes)    if not

    This is binary cross-entropy with logit z_yes - z_no. The label softmax for reranking is that of arXiv 2003.06713
    (monoT5); arXiv 2510.14824 calls the loss SFT. A query's documents are combined by `reduction`, and calling it
    returns the mean over queries. That paper reports no positive weight (so 1) and does not say how documents are
    combined; the sum has a gradient on the scale of InfoNCE's, the mean 1/n of it for n documents.

    Independent of the query's other documents: see `OnePass`.

    ```python
    import torch
    from mrb.training.losses import Group, Supervised

    group = Group(torch.tensor([2.0, 0.0, 1.0]), torch.zeros(3), torch.tensor([True, False, False]))
    print(round(Supervised()([group]).item(), 4))  # 2.1333
    ```

    Args:
        reduction: How the documents of a query are combined, `sum` or `mean`.
        positive_weight: Factor of the terms of relevant documents, above 0.

    Raises:
        TrainingError: The reduction is unknown, or the weight is not above 0.
    """

    reduction: Reduction = "sum"
    positive_weight: float = 1.0

    pointwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_choice("reduction", self.reduction, get_args(Reduction))
        check_positive("positive_weight", self.positive_weight)

    def __call__(self, groups: Sequence[Group], queries: int | None = None) -> Tensor:
        """Return the loss, a scalar: the sum over groups divided by the number of queries.

        Args:
            groups: The groups of a batch.
            queries: Queries of the whole step, if the batch is a part of it (default: the number of `groups`).

        Raises:
            TrainingError: There are no groups, or fewer `queries` than groups.
        """
        divisor = count_queries(len(groups), queries)
        return self.terms(Documents.of(groups)).sum() / divisor

    def terms(self, documents: Documents) -> Tensor:
        """Return each document's contribution to its query's loss, [n]."""
        margin = documents.yes - documents.no
        terms = -torch.where(documents.labels, self.positive_weight * logsigmoid(margin), logsigmoid(-margin))
        return terms / documents.sizes if self.reduction == "mean" else terms


def compute_supervised_weights(yes: Tensor, no: Tensor, labels: Tensor) -> Tensor:
    """Return the magnitude of the summed SFT gradient by each margin z_yes - z_no, [n], from logits and bool labels
    [n]:

        W+ = p_no = sigmoid(z_no - z_yes)        W_i- = p_yes = sigmoid(z_yes - z_no)

    This is the probability of the wrong label (arXiv 2510.14824; W- follows by differentiation). No gradient flows
    through.
    """
    with torch.no_grad():
        margin = yes - no
        return torch.where(labels, -margin, margin).sigmoid()
