"""A group: the documents of one query, with two logits each, and their labels. Checks that losses share.

Every loss here sees a document through two logits, z_yes = h . M_yes and z_no = h . M_no, where h is the last hidden
state at the answer's position (`LabelRows` computes them). Logits over the whole vocabulary are never needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor

from mrb.errors import TrainingError, to_one_line

Reduction = Literal["sum", "mean"]
"""How the documents of one query are combined.

The mean over n documents is 1/n of the sum, so its steps are smaller too.
"""
_PRECISE = (torch.float32, torch.float64)


@dataclass(frozen=True, eq=False)
class Documents:
    """Documents of one or several queries in order: all of a step, or those of one forward pass.

    `yes` and `no` are logits [n], float32 or float64; `labels` is bool [n], true for a relevant document; `sizes` is
    int64 [n], the number of documents in each document's whole group. Raises TrainingError for other shapes or types.
    """

    yes: Tensor
    no: Tensor
    labels: Tensor
    sizes: Tensor

    def __post_init__(self) -> None:
        _check(self.yes, self.no, self.labels)
        if self.sizes.shape != self.labels.shape:
            raise TrainingError(
                f"sizes have shape {_get_shape(self.sizes)}, labels {_get_shape(self.labels)}: give one each"
            )

    @classmethod
    def of(cls, groups: Sequence[Group]) -> Self:
        """Return the documents of `groups`, one group after the other. Raises TrainingError if there are none."""
        if not groups:
            raise TrainingError("no groups: a loss needs at least one query")
        return cls(
            torch.cat([group.yes for group in groups]),
            torch.cat([group.no for group in groups]),
            torch.cat([group.labels for group in groups]),
            torch.cat([torch.full_like(group.labels, len(group), dtype=torch.int64) for group in groups]),
        )


@dataclass(frozen=True, eq=False)
class Group:
    """All documents of one query in one step: `yes` and `no` are logits [n], `labels` is bool [n].

    `targets` [n] are what the listwise loss learns: scores of a teacher, or grades; other losses ignore them. At least
    one document must be relevant. Negatives may be missing; losses that compare documents refuse that.

    ```python
    import torch
    from mrb.training.losses import Group

    group = Group(torch.tensor([2.0, 0.0]), torch.zeros(2), torch.tensor([True, False]))
    print(len(group))  # 2
    ```

    Raises:
        TrainingError: There is no positive, shapes differ, labels are not bool, or logits are in half precision (near
            10, bfloat16 has steps of 0.06, so the label rows are applied in float32).
    """

    yes: Tensor
    no: Tensor
    labels: Tensor
    targets: Tensor | None = None

    def __post_init__(self) -> None:
        _check(self.yes, self.no, self.labels)
        if self.targets is not None and self.targets.shape != self.labels.shape:
            raise TrainingError(
                f"targets have shape {_get_shape(self.targets)}, labels {_get_shape(self.labels)}: give one each"
            )
        if self.targets is not None and not self.targets.isfinite().all():
            raise TrainingError("a target is not a finite number")
        if not self.labels.any():
            raise TrainingError(f"no positive among {len(self)} documents: every group needs one")

    def __len__(self) -> int:
        return len(self.labels)


def split_groups(
    yes: Tensor, no: Tensor, labels: Tensor, sizes: Sequence[int], targets: Tensor | None = None
) -> tuple[Group, ...]:
    """Split a flat batch into groups.

    Args:
        yes: Logits z_yes of all documents, [n], query after query.
        no: Logits z_no, [n].
        labels: bool [n], true for a relevant document.
        sizes: Number of documents per query, in order.
        targets: Targets of all documents, [n], if the loss has any.

    Returns:
        One group per query; tensors are views.

    Raises:
        TrainingError: Sizes do not add up to n; otherwise like `Group`, with the group's number from 0.
    """
    _check(yes, no, labels)
    flat = (yes, no, labels) if targets is None else (yes, no, labels, targets)
    if sum(sizes) != len(labels) or min(sizes, default=0) < 1:
        raise TrainingError(
            f"group sizes {to_one_line(list(sizes), 60)} do not cut {len(labels)} documents into groups"
        )
    groups = []
    for place, parts in enumerate(zip(*(torch.split(values, list(sizes)) for values in flat), strict=True)):
        try:
            groups.append(Group(*parts))
        except TrainingError as error:
            raise TrainingError(f"group {place}: {error}") from None
    return tuple(groups)


def _check(yes: Tensor, no: Tensor, labels: Tensor) -> None:
    if yes.ndim != 1 or yes.shape != no.shape or yes.shape != labels.shape:
        shapes = f"yes {_get_shape(yes)}, no {_get_shape(no)}, labels {_get_shape(labels)}"
        raise TrainingError(f"shapes differ or are not [documents]: {shapes}")
    if labels.dtype != torch.bool:
        raise TrainingError(f"labels are {labels.dtype}: give bool, true for relevant")
    for name, values in (("yes", yes), ("no", no)):
        if values.dtype not in _PRECISE:
            raise TrainingError(f"the {name} logits are {values.dtype}: give float32 or float64, as LabelRows does")


def _get_shape(values: Tensor) -> list[int]:
    return list(values.shape)


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """Raise TrainingError unless `value` is one of `known`."""
    if value not in known:
        raise TrainingError(f"{name} is {value!r}: give one of {', '.join(known)}")


def check_positive(name: str, value: float) -> None:
    """Raise TrainingError unless `value` is a finite number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise TrainingError(f"{name} is {value}: give a finite number above 0")


def check_tau(tau: float) -> None:
    """Raise TrainingError unless `tau` is in [0, 1)."""
    if not 0 <= tau < 1:
        raise TrainingError(f"tau is {tau}: give a number from 0 up to, but not including, 1")


def count_queries(given: int, queries: int | None) -> int:
    """Return the divisor of a sum over queries: `queries`, or `given` by default.

    Raises TrainingError if it is below `given`.
    """
    if given == 0:
        raise TrainingError("no groups: a loss needs at least one query")
    if queries is None:
        return given
    if queries < given:
        raise TrainingError(f"queries is {queries}, but {given} groups are given: count those of the whole step")
    return queries
