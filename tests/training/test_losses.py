"""The losses against their formulas: written out by hand, by finite differences, and against each other, in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from mrb.training.losses import (
    Contrastive,
    Group,
    LabelRows,
    Supervised,
    Unified,
    compute_contrastive_weights,
)

pytestmark = pytest.mark.torch

WIDTH = 6
SIZES = [(1, 1), (1, 4), (1, 16), (1, 100), (3, 5), (4, 1)]
POINTWISE = [
    Supervised(),
    Supervised("mean", 16),
    Unified("sft", "cl"),
    Unified("base", "sft", reduction="mean"),
    Unified("masked", "sft", tau=0.3, positive_weight=2.5),
]
COMPARING = [Unified("cl", "cl"), Unified("cl", "sft", temperature=0.5), Unified("cl-scaled", "sft")]
LOSSES = [Contrastive(), Contrastive(0.1), *COMPARING, *POINTWISE]


def labels_of(positives: int, negatives: int, seed: int = 0) -> Tensor:
    labels = torch.arange(positives + negatives) < positives
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]


def hidden_of(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 100))


def rows_of(seed: int = 0, *, tokens: int = 1, trainable: bool = True) -> LabelRows:
    head = torch.randn(2 * tokens, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 200))
    return LabelRows(head[:tokens], head[tokens:], trainable=trainable)


def group_of(positives: int, negatives: int, seed: int = 0) -> Group:
    hidden = hidden_of(positives + negatives, seed)
    return Group(*(z.detach() for z in rows_of(seed)(hidden)), labels_of(positives, negatives, seed))


def ragged(seed: int = 0) -> list[Group]:
    return [group_of(positives, negatives, seed + place) for place, (positives, negatives) in enumerate(SIZES)]


def gradients(loss: Callable[[list[Group]], Tensor], hidden: Tensor, rows: LabelRows, labels: Tensor) -> list[Tensor]:
    """The gradient by the hidden states, both label rows, and both logits."""
    hidden = hidden.clone().requires_grad_()
    yes, no = rows(hidden)
    value = loss([Group(yes, no, labels)])
    found = torch.autograd.grad(value, [hidden, rows.yes, rows.no, yes, no], allow_unused=True, materialize_grads=True)
    return list(found)


def same(found: Sequence[Tensor], wanted: Sequence[Tensor], tolerance: float = 1e-12) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def infonce(yes: list[float], labels: list[bool], temperature: float) -> float:
    negatives = sum(math.exp(s / temperature) for s, label in zip(yes, labels, strict=True) if not label)
    own = [math.exp(s / temperature) for s, label in zip(yes, labels, strict=True) if label]
    return sum(-math.log(e / (e + negatives)) for e in own) / len(own)


# What the losses are


@pytest.mark.parametrize(("positives", "negatives"), SIZES)
@pytest.mark.parametrize("temperature", [0.05, 1.0, 3.0])
def test_infonce_is_its_formula(positives: int, negatives: int, temperature: float) -> None:
    group = group_of(positives, negatives)
    wanted = infonce(group.yes.tolist(), group.labels.tolist(), temperature)
    assert Contrastive(temperature)([group]).item() == pytest.approx(wanted, rel=1e-12)


def test_infonce_with_one_positive_is_cross_entropy_over_the_group() -> None:
    group = group_of(1, 9)
    wanted = cross_entropy(group.yes[None] / 0.2, group.labels.nonzero()[0])
    same([Contrastive(0.2)([group])], [wanted])


@pytest.mark.parametrize(("positives", "negatives"), [*SIZES, (2, 0)])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("positive_weight", [1.0, 7.5])
def test_sft_is_binary_cross_entropy_on_the_margin(
    positives: int, negatives: int, reduction: Any, positive_weight: float
) -> None:
    group = group_of(positives, negatives)
    weight = torch.tensor(positive_weight, dtype=torch.float64)
    target = group.labels.double()
    wanted = binary_cross_entropy_with_logits(group.yes - group.no, target, reduction=reduction, pos_weight=weight)
    same([Supervised(reduction, positive_weight)([group])], [wanted])


def test_sft_is_cross_entropy_over_the_two_labels() -> None:
    group = group_of(2, 7)
    wanted = cross_entropy(torch.stack([group.no, group.yes], dim=1), group.labels.long(), reduction="sum")
    same([Supervised()([group])], [wanted])


# Gradients


@pytest.mark.parametrize(("positives", "negatives"), SIZES)
@pytest.mark.parametrize("temperature", [0.05, 1.0, 3.0])
def test_cl_weights_and_direction_have_the_gradient_of_infonce(
    positives: int, negatives: int, temperature: float
) -> None:
    parts = hidden_of(positives + negatives), rows_of(), labels_of(positives, negatives)
    found = gradients(Unified("cl", "cl", temperature=temperature), *parts)
    same(found, gradients(Contrastive(temperature), *parts))
    assert all(grad.abs().max() > 0 for grad in (found[0], found[1], found[3]))


@pytest.mark.parametrize(("positives", "negatives"), [*SIZES, (2, 0)])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("positive_weight", [1.0, 7.5])
def test_sft_weights_and_direction_have_the_gradient_of_sft(
    positives: int, negatives: int, reduction: Any, positive_weight: float
) -> None:
    parts = hidden_of(positives + negatives), rows_of(), labels_of(positives, negatives)
    found = gradients(Unified("sft", "sft", reduction=reduction, positive_weight=positive_weight), *parts)
    same(found, gradients(Supervised(reduction, positive_weight), *parts))
    assert all(grad.abs().max() > 0 for grad in found)


@pytest.mark.parametrize(("positives", "negatives"), [(1, 1), (1, 4), (3, 5)])
@pytest.mark.parametrize("arm", ["cl", "sft"])
def test_the_surrogates_gradient_is_the_slope_of_the_true_loss(positives: int, negatives: int, arm: Any) -> None:
    hidden, rows, labels = hidden_of(positives + negatives), rows_of(), labels_of(positives, negatives)
    true = Contrastive() if arm == "cl" else Supervised()
    slope = torch.zeros_like(hidden)
    for place in itertools.product(range(len(hidden)), range(WIDTH)):
        values = []
        for step in (1e-5, -1e-5):
            moved = hidden.clone()
            moved[place] += step
            values.append(true([Group(*(z.detach() for z in rows(moved)), labels)]).item())
        slope[place] = (values[0] - values[1]) / 2e-5
    same(gradients(Unified(arm, arm), hidden, rows, labels)[:1], [slope], tolerance=1e-8)


@pytest.mark.parametrize("direction", ["cl", "sft"])
@pytest.mark.parametrize("weight", ["cl", "cl-scaled", "sft", "base", "masked"])
def test_every_arm_moves_a_document_by_its_weight_along_its_direction(weight: Any, direction: Any) -> None:
    """One positive: the gradient by h is -W+ D, by a negative's h it is W- D; W from the formulas, with math.exp."""
    hidden, rows, labels, tau = hidden_of(5), rows_of(), labels_of(1, 4), 0.3
    yes, no = (z.tolist() for z in rows(hidden))
    total = sum(map(math.exp, yes))
    wrong = [
        math.exp(n if label else y) / (math.exp(y) + math.exp(n))
        for y, n, label in zip(yes, no, labels.tolist(), strict=True)
    ]
    rest = {"sft": wrong, "base": [1.0] * 5, "masked": [float(p >= tau) for p in wrong]}
    share = [math.exp(y) / total for y in yes]
    rest["cl"] = [1 - p if label else p for p, label in zip(share, labels.tolist(), strict=True)]
    rest["cl-scaled"] = [weight * sum(wrong) / sum(rest["cl"]) for weight in rest["cl"]]
    along = (rows.yes - (rows.no if direction == "sft" else 0)).detach()[0]
    signs = torch.where(labels, -1.0, 1.0).double()
    wanted = (signs * torch.tensor(rest[weight], dtype=torch.float64))[:, None] * along
    loss = Unified(weight, direction, tau=tau if weight == "masked" else None)
    same(gradients(loss, hidden, rows, labels)[:1], [wanted])
    if weight == "masked":
        assert 0 < sum(rest["masked"]) < 5  # the mask does take some and leave some


def test_positive_weight_and_mean_scale_every_arm() -> None:
    hidden, rows, labels = hidden_of(6), rows_of(), labels_of(2, 4)
    for weight, direction in itertools.product(("cl", "sft", "base"), ("cl", "sft")):
        plain = gradients(Unified(weight, direction), hidden, rows, labels)[0]
        scaled = gradients(Unified(weight, direction, reduction="mean", positive_weight=3), hidden, rows, labels)[0]
        same([scaled[labels], scaled[~labels]], [plain[labels] * 3 / 6, plain[~labels] / 6])


def test_a_step_raises_positives_and_lowers_negatives() -> None:
    hidden, rows, labels = hidden_of(9), rows_of(trainable=False), labels_of(2, 7)
    for weight, direction in itertools.product(("cl", "sft", "base"), ("cl", "sft")):
        moving = hidden.clone().requires_grad_()
        loss: Any = Unified(weight, direction)
        (grad,) = torch.autograd.grad(loss([Group(*rows(moving), labels)]), moving)
        (yes, no), (new_yes, new_no) = rows(hidden), rows(hidden - 0.01 * grad)
        gain = new_yes - yes if direction == "cl" else (new_yes - new_no) - (yes - no)
        assert (gain[labels] > 0).all()
        assert (gain[~labels] < 0).all()


# Weights


@pytest.mark.parametrize(("positives", "negatives"), SIZES)
@pytest.mark.parametrize("temperature", [0.05, 1.0, 3.0])
def test_contrastive_weights_of_negatives_add_up_to_those_of_positives(
    positives: int, negatives: int, temperature: float
) -> None:
    group = group_of(positives, negatives)
    weights = compute_contrastive_weights(group, temperature)
    assert (weights >= 0).all()
    same([weights[~group.labels].sum()], [weights[group.labels].sum()])
    assert 0 < weights.sum() <= 2 / temperature


def test_contrastive_weights_do_not_cancel_to_zero() -> None:
    """A positive 40 ahead: 1 - p is exactly 0 in float32, the sum over negatives is not."""
    yes = torch.tensor([40.0, 0.0, 0.0])
    weights = compute_contrastive_weights(Group(yes, torch.zeros(3), torch.tensor([True, False, False])))
    assert weights[0].item() == pytest.approx(2 * math.exp(-40), rel=1e-5)


def test_masked_weights_are_zero_exactly_below_tau() -> None:
    tau = 0.2
    edge = math.log(0.25)  # the margin at which p_yes = 0.2
    margins = torch.tensor([edge - 1e-9, edge + 1e-9, 0, -edge + 1e-9, -edge - 1e-9, 60, -60], dtype=torch.float64)
    positives = [1, 1, 1, 0, 1, 0, 1]  # by p_no: 0.8+ 0.8- 0.5 0.2- 0.2+ 0 1
    negatives = [0, 1, 1, 1, 1, 1, 0]  # by p_yes: 0.2- 0.2+ 0.5 0.8+ 0.8- 1 0
    group = Group(margins.repeat(2), torch.zeros(14, dtype=torch.float64), torch.arange(14) < 7)
    for direction in ("cl", "sft"):
        assert Unified("masked", direction, tau=tau).weights(group).tolist() == positives + negatives
    half = Unified("masked", "cl", tau=0.5).weights(group)
    assert half.tolist() == [1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 1, 1, 1, 0]  # a probability of tau itself is kept


def test_a_masked_document_does_not_move() -> None:
    hidden, rows, labels = hidden_of(40), rows_of(), labels_of(8, 32)
    loss = Unified("masked", "sft", tau=0.25)
    kept = loss.weights(Group(*rows(hidden), labels)) == 1
    grad = gradients(loss, hidden, rows, labels)[0]
    assert 0 < kept[labels].sum() < 8
    assert 0 < kept[~labels].sum() < 32
    assert (grad[~kept] == 0).all()
    assert (grad[kept].abs().sum(dim=1) > 0).all()


def test_tau_zero_is_base() -> None:
    for group in ragged():
        same([Unified("masked", "cl", tau=0).weights(group)], [Unified("base", "cl").weights(group)])
    sure = Group(torch.tensor([1e5]), torch.tensor([0.0]), torch.tensor([True]))  # p_no is 0 in float32
    assert Unified("masked", "cl", tau=0).weights(sure).tolist() == [1]


def test_magnitudes_are_the_means_of_the_weights() -> None:
    yes = torch.tensor([0.0, 0.0, 0.0, math.log(3)], dtype=torch.float64)
    group = Group(yes, torch.zeros_like(yes), torch.tensor([True, False, False, False]))
    found = Unified("sft", "cl", positive_weight=9, reduction="mean").magnitudes([group, group])
    assert found == pytest.approx({"weight_positive": 0.5, "weight_negative": 1.75 / 3})
    found = Unified("cl", "cl").magnitudes([group])
    assert found == pytest.approx({"weight_positive": 5 / 6, "weight_negative": 5 / 18})
    assert Unified("base", "cl").magnitudes([Group(yes, yes, yes >= 0)]) == {"weight_positive": 1}
