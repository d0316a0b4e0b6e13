"""Losses in a training step: groups and batches, chunks that equal one graph, label rows, extremes, refusals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mrb.errors import MRBError, TrainingError
from mrb.training.losses import (
    Contrastive,
    Documents,
    Group,
    LabelRows,
    OnePass,
    Supervised,
    TwoPass,
    Unified,
    compute_contrastive_weights,
    split_groups,
)

pytestmark = pytest.mark.torch

WIDTH = 5
SIZES = [5, 2, 17, 6]
LABELS = torch.cat([torch.arange(size) % 5 == 1 for size in SIZES])  # one to three positives a group
POINTWISE: list[Any] = [
    Supervised(),
    Supervised("mean", 16),
    Unified("sft", "cl"),
    Unified("base", "sft", reduction="mean"),
    Unified("masked", "sft", tau=0.3, positive_weight=2.5),
]
LOSSES: list[Any] = [
    *POINTWISE,
    Contrastive(),
    Contrastive(0.1),
    Unified("cl", "cl"),
    Unified("cl-scaled", "sft"),
    Unified("cl", "sft", temperature=0.5, reduction="mean", positive_weight=3),
]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def groups_of(yes: Tensor, no: Tensor) -> tuple[Group, ...]:
    return split_groups(yes, no, LABELS, SIZES)


class Model(nn.Module):
    """Documents [n, 3] to two logits [n], through a hidden layer and trainable label rows of two tokens each."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, WIDTH), nn.Tanh(), nn.Dropout(dropout)).double()
        with torch.no_grad():
            for place, values in enumerate(self.body.parameters()):
                values.copy_(drawn(*values.shape, seed=place))
        self.rows = LabelRows(drawn(2, WIDTH, seed=8), drawn(2, WIDTH, seed=9), trainable=True)

    def forward(self, documents: Tensor) -> tuple[Tensor, Tensor]:
        yes, no = self.rows(self.body(documents))
        return yes, no

    def gradients(self) -> list[Tensor]:
        found = [values.grad for values in self.parameters()]
        return [torch.zeros_like(v) if g is None else g for v, g in zip(self.parameters(), found, strict=True)]


def in_one_graph(loss: Any, documents: Tensor) -> tuple[Tensor, list[Tensor]]:
    model = Model()
    value = loss(groups_of(*model(documents)))
    value.backward()
    return value.detach(), model.gradients()


def in_chunks(
    model: Model, plan: OnePass | TwoPass, parts: Sequence[slice | Tensor], documents: Tensor
) -> tuple[Tensor, list[Tensor]]:
    total = torch.zeros((), dtype=torch.float64)
    for part in parts:
        value = plan.chunk_loss(part, *model(documents[part]))
        value.backward()
        total += value.detach()
    return total, model.gradients()


def equal(found: tuple[Tensor, list[Tensor]], wanted: tuple[Tensor, list[Tensor]]) -> None:
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-12, atol=1e-12)
    assert max(grad.abs().max() for grad in wanted[1]) > 1e-3
    for one, other in zip(found[1], wanted[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


COUNT = sum(SIZES)
CUTS: dict[str, list[slice | Tensor]] = {
    "one by one": [slice(place, place + 1) for place in range(COUNT)],
    "across groups": [slice(start, start + 4) for start in range(0, COUNT, 4)],
    "shuffled": list(torch.randperm(COUNT, generator=torch.Generator().manual_seed(1)).split(7)),
    "whole": [slice(0, COUNT)],
}

# Chunks


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_two_passes_in_chunks_equal_one_graph(loss: Any, cut: str) -> None:
    documents, model = drawn(COUNT, 3, seed=3), Model()
    with torch.no_grad():
        plan = TwoPass(loss, groups_of(*model(documents)))
    wanted = in_one_graph(loss, documents)
    equal(in_chunks(model, plan, CUTS[cut], documents), wanted)
    torch.testing.assert_close(plan.value, wanted[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("loss", POINTWISE, ids=str)
def test_one_pass_in_chunks_equals_one_graph(loss: Any, cut: str) -> None:
    documents = drawn(COUNT, 3, seed=3)
    equal(in_chunks(Model(), OnePass(loss, LABELS, SIZES), CUTS[cut], documents), in_one_graph(loss, documents))


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_groups_accumulate_to_the_big_batch(loss: Any) -> None:
    documents, model = drawn(COUNT, 3, seed=3), Model()
    total = torch.zeros((), dtype=torch.float64)
    for group in range(len(SIZES)):
        own = slice(sum(SIZES[:group]), sum(SIZES[: group + 1]))
        value = loss(split_groups(*model(documents[own]), LABELS[own], SIZES[group : group + 1]), queries=len(SIZES))
        value.backward()
        total += value.detach()
    equal((total, model.gradients()), in_one_graph(loss, documents))


def test_chunks_accumulate_to_the_big_batch() -> None:
    documents = drawn(COUNT, 3, seed=3)
    for loss in LOSSES:
        model, total, grads = Model(), torch.zeros((), dtype=torch.float64), []
        for first, last in ((0, 1), (1, 4)):
            own, sizes = slice(sum(SIZES[:first]), sum(SIZES[:last])), SIZES[first:last]
            with torch.no_grad():
                groups = split_groups(*model(documents[own]), LABELS[own], sizes)
            plan = OnePass(loss, LABELS[own], sizes, 4) if loss.pointwise else TwoPass(loss, groups, 4)
            value, grads = in_chunks(model, plan, [slice(0, 3), slice(3, sum(sizes))], documents[own])
            total += value
        equal((total, grads), in_one_graph(loss, documents))


def test_two_passes_keep_no_graph_of_the_first() -> None:
    model, documents = Model(), drawn(COUNT, 3)
    yes, no = model(documents)
    plan = TwoPass(Contrastive(), groups_of(yes, no))
    assert not plan.value.requires_grad
    assert torch.autograd.grad(plan.chunk_loss(slice(0, 2), yes[:2], no[:2]), yes, retain_graph=True)[0][2:].eq(0).all()
    assert model.gradients()[0].eq(0).all()


def test_drift_sees_a_model_that_does_not_repeat() -> None:
    documents, part = drawn(COUNT, 3), slice(3, 9)
    found = []
    for model in (Model(), Model(dropout=0.5)):
        with torch.no_grad():
            plan = TwoPass(Contrastive(), groups_of(*model(documents)))
        found.append(plan.measure_drift(part, *(z[part] for z in model(documents))))
    assert found[0] == 0
    assert found[1] > 0.1


# Groups and batches


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_a_batch_is_the_mean_over_its_queries(loss: Any) -> None:
    groups = groups_of(drawn(COUNT), drawn(COUNT, seed=1))
    wanted = sum(loss([group]).item() for group in groups) / len(groups)
    assert loss(groups).item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_the_order_of_documents_changes_nothing(loss: Any) -> None:
    yes, no = drawn(12), drawn(12, seed=1)
    labels = torch.arange(12) % 5 == 0
    found = []
    for order in (torch.arange(12), torch.randperm(12, generator=torch.Generator().manual_seed(2))):
        logits = [z.clone().requires_grad_() for z in (yes, no)]
        value = loss([Group(logits[0][order], logits[1][order], labels[order])])
        found.append((value, *torch.autograd.grad(value, logits, allow_unused=True, materialize_grads=True)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_split_groups_keeps_documents_in_place() -> None:
    yes, no = drawn(COUNT), drawn(COUNT, seed=1)
    groups = groups_of(yes, no)
    assert [len(group) for group in groups] == SIZES
    joined = Documents.of(groups)
    assert joined.yes.equal(yes)
    assert joined.no.equal(no)
    assert joined.labels.equal(LABELS)
    assert joined.sizes.tolist() == [size for size in SIZES for _ in range(size)]


# Extremes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [100.0, 1e4, 1e30])
@pytest.mark.parametrize("loss", [*LOSSES, Unified("cl", "cl", temperature=0.01)], ids=str)
def test_extreme_logits_stay_finite(loss: Any, size: float, dtype: torch.dtype) -> None:
    signs = torch.tensor(list(itertools.product((-1.0, 0.0, 1.0), repeat=2)), dtype=dtype) * size
    for labels in (torch.arange(9) < 3, torch.arange(9) >= 6, torch.arange(9) == 4):
        yes, no = signs.clone().requires_grad_().unbind(1)
        value = loss([Group(yes, no, labels)])
        assert value.isfinite()
        for grad in torch.autograd.grad(value, [yes, no], allow_unused=True, materialize_grads=True):
            assert grad.isfinite().all()


def test_far_from_the_answer_the_losses_are_straight_lines() -> None:
    yes, no = torch.tensor([-500.0, 500.0]), torch.tensor([0.0, 0.0])
    group = Group(yes, no, torch.tensor([True, False]))
    assert Supervised()([group]).item() == 1000
    assert Contrastive()([group]).item() == 1000
    assert compute_contrastive_weights(group).tolist() == [1, 1]


# Label rows


def test_two_rows_are_two_products() -> None:
    head, hidden = drawn(7, WIDTH), drawn(3, 4, WIDTH, seed=1)
    yes, no = LabelRows.from_head(head, [5], [2])(hidden)
    torch.testing.assert_close(yes, hidden @ head[5])
    torch.testing.assert_close(no, hidden @ head[2])


def test_several_tokens_give_a_label_their_share() -> None:
    head, hidden = drawn(9, WIDTH), drawn(4, WIDTH, seed=1)
    yes, no = LabelRows.from_head(head, [1, 8, 3], [0, 4])(hidden)
    shares = (hidden @ head[[1, 8, 3, 0, 4]].T).softmax(dim=1)
    torch.testing.assert_close((yes - no).sigmoid(), shares[:, :3].sum(dim=1))


def test_with_several_tokens_the_direction_is_their_mean_by_share() -> None:
    head, hidden = drawn(9, WIDTH), drawn(4, WIDTH, seed=1).requires_grad_()
    loss = Unified("sft", "sft")
    group = Group(*LabelRows.from_head(head, [1, 8, 3], [0, 4])(hidden), torch.arange(4) < 2)
    (grad,) = torch.autograd.grad(loss([group]), hidden)
    along = (hidden @ head[[1, 8, 3]].T).softmax(1) @ head[[1, 8, 3]] - (hidden @ head[[0, 4]].T).softmax(1) @ head[
        [0, 4]
    ]
    signs = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    torch.testing.assert_close(grad, (signs * loss.weights(group))[:, None] * along)


def test_trainable_rows_learn_and_leave_the_head_alone() -> None:
    head, hidden, labels = nn.Parameter(drawn(4, WIDTH)), drawn(3, WIDTH, seed=1), torch.arange(3) < 1
    before = head.detach().clone()
    rows = LabelRows.from_head(head, [3], [0], trainable=True)
    optimiser = torch.optim.SGD(rows.parameters(), lr=0.1)
    Supervised()([Group(*rows(hidden), labels)]).backward()
    optimiser.step()
    assert head.grad is None
    assert head.equal(before)
    assert (rows.yes[0] - before[3]).abs().max() > 1e-3
    frozen = LabelRows.from_head(head, [3], [0])
    assert not any(values.requires_grad for values in (*frozen.parameters(), *frozen(hidden)))
    with torch.no_grad():
        head[3] += 1
    assert frozen.yes[0].equal(before[3])
    own = drawn(1, WIDTH)
    kept = LabelRows(own, own)
    own += 1
    assert not kept.yes.equal(own)


def test_random_rows_come_from_their_seed() -> None:
    one, again, other = LabelRows.random(400, 1), LabelRows.random(400, 1), LabelRows.random(400, 2)
    assert one.yes.equal(again.yes)
    assert one.no.equal(again.no)
    assert not one.yes.equal(other.yes)
    assert not one.yes.equal(one.no)
    assert all(values.requires_grad and 0.017 < values.std() < 0.023 for values in one.parameters())


def test_logits_are_float32_whatever_the_model_computes_in() -> None:
    head, hidden = drawn(2, 256).bfloat16(), drawn(3, 256, seed=1).bfloat16()
    rows = LabelRows.from_head(head, [0], [1])
    wanted = hidden.float() @ head.float().T
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = torch.stack(rows(hidden), dim=1)
        inside_wide = torch.stack(rows(hidden.float()), dim=1)
    after_cast = torch.stack(rows.bfloat16()(hidden), dim=1)
    for found in (inside, inside_wide, after_cast):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-5)


# Refusals

Z, BOTH, NONE = torch.zeros(3), torch.tensor([True, False, False]), torch.zeros(3, dtype=torch.bool)
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no positive": (lambda: Group(Z, Z, NONE), "no positive among 3 documents"),
    "no documents": (lambda: Group(Z[:0], Z[:0], NONE[:0]), "no positive among 0"),
    "which group": (lambda: split_groups(Z, Z, BOTH, [1, 2]), "group 1: no positive among 2"),
    "sizes": (lambda: split_groups(Z, Z, BOTH, [1, 1]), r"group sizes [1, 1] do not cut 3 documents"),
    "size of 0": (lambda: split_groups(Z, Z, BOTH, [3, 0]), "group sizes"),
    "no sizes": (lambda: split_groups(Z[:0], Z[:0], NONE[:0], []), "group sizes"),
    "shape": (lambda: Group(Z, Z[:2], BOTH), "yes [3], no [2], labels [3]"),
    "labels' shape": (lambda: Group(Z, Z, BOTH[:2]), "labels [2]"),
    "two dimensions": (lambda: Group(Z[None], Z[None], BOTH[None]), "not [documents]: yes [1, 3]"),
    "labels as numbers": (lambda: Group(Z, Z, torch.ones(3)), "labels are torch.float32: give bool"),
    "half precision": (lambda: Group(Z, Z.bfloat16(), BOTH), "no logits are torch.bfloat16"),
    "sizes' shape": (lambda: Documents(Z, Z, BOTH, torch.ones(2)), "sizes have shape [2]"),
    "CL without negative": (lambda: Contrastive()([Group(Z, Z, ~NONE)]), "no negative among 3 documents"),
    "cl weights without negative": (lambda: Unified("cl", "sft")([Group(Z, Z, ~NONE)]), "no negative among 3"),
    "no groups": (lambda: Contrastive()([]), "no groups"),
    "no groups to supervise": (lambda: Supervised()([]), "no groups"),
    "fewer queries than groups": (lambda: Supervised()([Group(Z, Z, BOTH)] * 2, 1), "queries is 1, but 2 groups"),
    "temperature 0": (lambda: Contrastive(0), "temperature is 0: give a finite number above 0"),
    "temperature below 0": (lambda: Unified("cl", "cl", temperature=-1), "temperature is -1"),
    "temperature nan": (lambda: compute_contrastive_weights(Group(Z, Z, BOTH), math.nan), "temperature is nan"),
    "temperature without use": (lambda: Unified("sft", "cl", temperature=2), "weight 'sft' has none"),
    "tau 1": (lambda: Unified("masked", "cl", tau=1), "tau is 1: give a number from 0"),
    "tau below 0": (lambda: Unified("masked", "cl", tau=-0.1), "tau is -0.1"),
    "tau nan": (lambda: Unified("masked", "cl", tau=math.nan), "tau is nan"),
    "masked without tau": (lambda: Unified("masked", "cl"), "tau is None, weight is 'masked'"),
    "tau without mask": (lambda: Unified("base", "cl", tau=0.1), "tau is 0.1, weight is 'base'"),
    "weight": (lambda: Unified("dl", "cl"), "weight is 'dl': give one of cl, cl-scaled, sft, base, masked"),  # type: ignore[arg-type]
    "direction": (lambda: Unified("cl", "up"), "direction is 'up': give one of cl, sft"),  # type: ignore[arg-type]
    "reduction": (lambda: Supervised("max"), "reduction is 'max': give one of sum, mean"),  # type: ignore[arg-type]
    "positive weight": (lambda: Supervised(positive_weight=0), "positive_weight is 0"),
    "infinite positive weight": (lambda: Unified("cl", "cl", positive_weight=math.inf), "positive_weight is inf"),
    "one pass of CL": (lambda: OnePass(Unified("cl", "cl"), BOTH, [3]), "use TwoPass"),
    "terms of cl weights": (lambda: Unified("cl", "cl").terms(Documents(Z, Z, BOTH, Z.long() + 3)), "use TwoPass"),
    "one pass, no positive": (lambda: OnePass(Supervised(), NONE, [3]), "group 0: no positive"),
    "chunk": (
        lambda: TwoPass(Contrastive(), [Group(Z, Z, BOTH)]).chunk_loss(slice(0, 2), Z, Z),
        "chunk of 2 documents",
    ),
    "rows' width": (lambda: LabelRows(torch.ones(1, 2), torch.ones(1, 3)), "yes [1, 2], no [1, 3]"),
    "flat rows": (lambda: LabelRows(Z, Z), "yes [3], no [3]: give [tokens, width] each"),
    "no rows": (lambda: LabelRows(torch.ones(0, 2), torch.ones(1, 2)), "yes [0, 2]"),
    "token twice": (lambda: LabelRows.from_head(torch.ones(4, 2), [1, 2], [2]), "[1, 2, 2] name one twice"),
    "token outside": (lambda: LabelRows.from_head(torch.ones(4, 2), [1], [4]), "not all in a vocabulary of 4"),
    "token below 0": (lambda: LabelRows.from_head(torch.ones(4, 2), [1], [-1]), "not all in a vocabulary"),
    "no token": (lambda: LabelRows.from_head(torch.ones(4, 2), [], [1]), "a label has no token"),
    "random rows of 0": (lambda: LabelRows.random(3, 0, std=0), "std is 0"),
    "hidden width": (lambda: LabelRows.random(3, 0)(torch.ones(2, 4)), "hidden states are 4 wide, label rows 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_in_one_line(case: str) -> None:
    attempt, words = REFUSED[case]
    with pytest.raises(TrainingError) as caught:
        attempt()
    assert isinstance(caught.value, MRBError)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 160
