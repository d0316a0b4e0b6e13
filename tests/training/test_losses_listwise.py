"""The listwise loss: against its formula in plain Python and torch's own divergence, in float64, and in two passes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import kl_div

from mrb.errors import TrainingError
from mrb.training.losses import Contrastive, Group, Listwise, TwoPass, split_groups

pytestmark = pytest.mark.torch

LABELS = torch.tensor([True, True, False, False, False, True, False])
SIZES = [5, 2]
GRADES = torch.tensor([3, 1, 0, 0, 0, 1, 0], dtype=torch.float64)


def drawn(count: int, seed: int) -> Tensor:
    return torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def softmax(values: list[float]) -> list[float]:
    highest = max(values)
    powers = [math.exp(value - highest) for value in values]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("temperature", [1.0, 0.2])
@pytest.mark.parametrize("target", ["teacher", "grades"])
def test_value_and_gradient_are_those_of_the_formula(target: Any, temperature: float) -> None:
    yes, no = (drawn(7, seed).requires_grad_() for seed in (1, 2))
    targets = 4 * drawn(7, 3) if target == "teacher" else GRADES
    value = Listwise(target, temperature)(split_groups(yes, no, LABELS, SIZES, targets))
    value.backward()
    total, slopes, start = 0.0, [], 0
    for size in SIZES:
        own = slice(start, start + size)
        start += size
        found = softmax([s / temperature for s in (yes - no)[own].tolist()])
        if target == "teacher":
            wanted = softmax([t / temperature for t in targets[own].tolist()])
        else:
            gains = [2**g - 1 for g in targets[own].tolist()]
            wanted = [gain / sum(gains) for gain in gains]
        total += sum(p * math.log(p / q) for p, q in zip(wanted, found, strict=True) if p)
        slopes += [(q - p) / temperature / len(SIZES) for p, q in zip(wanted, found, strict=True)]
    assert value.item() == pytest.approx(total / len(SIZES), rel=1e-12)
    assert yes.grad is not None and no.grad is not None
    assert yes.grad.tolist() == pytest.approx(slopes, rel=1e-10, abs=1e-14)
    assert no.grad.tolist() == pytest.approx([-slope for slope in slopes], rel=1e-10, abs=1e-14)


def test_a_teacher_is_distilled_as_by_torchs_divergence() -> None:
    """DistillKLDivLoss of sentence-transformers takes torch's `KLDivLoss` of log-softmax and softmax."""
    student, teacher = drawn(5, 1), drawn(5, 2)
    group = Group(student, torch.zeros(5, dtype=torch.float64), LABELS[:5], teacher)
    wanted = kl_div(student.log_softmax(0), teacher.softmax(0), reduction="sum")
    assert Listwise("teacher")([group]).item() == pytest.approx(wanted.item(), rel=1e-12)
    same = Group(teacher + 3, torch.zeros(5, dtype=torch.float64), LABELS[:5], teacher)
    assert Listwise("teacher")([same]).item() == pytest.approx(0, abs=1e-14)


def test_grades_of_one_positive_are_infonce() -> None:
    yes, labels = drawn(6, 4), torch.arange(6) == 2
    group = Group(yes, torch.zeros(6, dtype=torch.float64), labels, labels.double())
    assert Listwise("grades", 0.5)([group]).item() == pytest.approx(Contrastive(0.5)([group]).item(), rel=1e-12)


@pytest.mark.parametrize("target", ["teacher", "grades"])
def test_chunks_add_up_to_one_graph(target: Any) -> None:
    yes, no = (drawn(7, seed).requires_grad_() for seed in (1, 2))
    targets = drawn(7, 3) if target == "teacher" else GRADES
    loss = Listwise(target)
    whole = torch.autograd.grad(loss(split_groups(yes, no, LABELS, SIZES, targets)), [yes, no])
    plan = TwoPass(loss, split_groups(yes.detach(), no.detach(), LABELS, SIZES, targets))
    for part in (slice(0, 3), slice(3, 6), slice(6, 7)):
        plan.chunk_loss(part, yes[part], no[part]).backward()
    for values, wanted in zip((yes, no), whole, strict=True):
        torch.testing.assert_close(values.grad, wanted, rtol=1e-12, atol=1e-14)


def test_what_is_no_target_is_refused() -> None:
    zeros, labels = torch.zeros(2), torch.tensor([True, False])
    for make, words in (
        (lambda: Listwise("labels"), "target is 'labels': give one of teacher, grades"),  # type: ignore[arg-type]
        (lambda: Listwise("teacher", 0), "temperature is 0"),
        (lambda: Listwise("teacher")([Group(zeros, zeros, labels)]), "has no targets"),
        (lambda: Listwise("grades")([Group(zeros, zeros, labels, zeros)]), "one above it"),
        (lambda: Listwise("grades")([Group(zeros, zeros, labels, torch.tensor([1.0, -1.0]))]), "numbers from 0"),
        (lambda: Group(zeros, zeros, labels, torch.zeros(3)), r"targets have shape \[3\]"),
        (lambda: Group(zeros, zeros, labels, torch.tensor([1.0, math.nan])), "not a finite number"),
    ):
        with pytest.raises(TrainingError, match=words):
            make()
