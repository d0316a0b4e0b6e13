"""The listwise loss: distillation from a teacher's scores, and graded labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from mrb.errors import TrainingError
from mrb.training.losses.group import Group, check_choice, check_positive, count_queries

Target = Literal["teacher", "grades"]


@dataclass(frozen=True)
class Listwise:
    """The divergence of the model's distribution over a query's documents from a target distribution p:

        L = sum_i p_i (log p_i - log q_i)        q = softmax(s / T), s = z_yes - z_no

    ListNet (Cao et al., ICML 2007) without the entropy of p, which has no gradient; the gradient by s_i is
    (q_i - p_i) / T. A group's `targets` decide p:

    `teacher`: scores t of a teacher, p = softmax(t / T). It is the distillation of arXiv 2010.11386, and
    sentence-transformers' DistillKLDivLoss, but without its factor T^2.

    `grades`: grades g from 0, p_i = (2^g_i - 1) / sum_j (2^g_j - 1), the gains of nDCG. With one positive of grade 1
    this is InfoNCE of s. (For binary labels it is the softmax cross-entropy of Bruch et al., ICTIR 2019.)

    All documents of a query must be seen together: see `TwoPass`.

    ```python
    import torch
    from mrb.training.losses import Group, Listwise

    labels = torch.tensor([True, False, False])
    group = Group(torch.tensor([2.0, 0.0, 1.0]), torch.zeros(3), labels, torch.tensor([3.0, 0.0, 1.0]))
    print(round(Listwise("teacher")([group]).item(), 4))  # 0.0816
    print(round(Listwise("grades")([group]).item(), 4))  # 0.1558
    ```

    Args:
        target: What the targets are.
        temperature: T, above 0.

    Raises:
        TrainingError: A setting is out of its range; when called, a group has no targets, or no grade above 0.
    """

    target: Target
    temperature: float = 1.0

    pointwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_choice("target", self.target, get_args(Target))
        check_positive("temperature", self.temperature)

    def __call__(self, groups: Sequence[Group], queries: int | None = None) -> Tensor:
        """Return the loss, a scalar: the sum over groups divided by the number of queries.

        Args:
            groups: The groups of a batch, with targets.
            queries: Queries of the whole step, if the batch is a part of it (default: the number of `groups`).

        Raises:
            TrainingError: There are no groups, fewer `queries` than groups, or a group without targets.
        """
        divisor = count_queries(len(groups), queries)
        return torch.stack([self._one(group) for group in groups]).sum() / divisor

    def _one(self, group: Group) -> Tensor:
        wanted = self._make_distribution(group)
        found = ((group.yes - group.no) / self.temperature).log_softmax(dim=0)
        entropy: Tensor = torch.special.xlogy(wanted, wanted)
        return (entropy - wanted * found).sum()

    def _make_distribution(self, group: Group) -> Tensor:
        if group.targets is None:
            raise TrainingError(f"a group of {len(group)} documents has no targets, which the listwise loss needs")
        values = group.targets.to(group.yes.dtype)
        if self.target == "teacher":
            return (values / self.temperature).softmax(dim=0)
        gains: Tensor = 2**values - 1
        if not (values >= 0).all() or not gains.any():
            raise TrainingError(f"grades {values.tolist()}: wanted numbers from 0, and one above it")
        return gains / gains.sum()
