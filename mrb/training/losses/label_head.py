"""Label rows: from a hidden state to the two logits, yes and no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from mrb.errors import TrainingError
from mrb.training.losses.group import check_positive


class LabelRows(nn.Module):
    """Rows for each label, [k_yes, width] and [k_no, width], that turn hidden states [..., width] into two logits
    [...].

    A label with one row has the logit z = h . M. With several tokens (arXiv 2510.14824 tries 2 to 16 in all) its logit
    is log(sum_t exp(h . M_t)), so that sigmoid(z_yes - z_no) is the label's share of the probability of all listed
    tokens; how that paper combines them is not known to us.

    Rows are copies. `trainable` rows are trained separately from the model's head, which in a tied model is also its
    input embedding and must not change. They are held and applied in float32 at least, also inside autocast.

    ```python
    import torch
    from mrb.training.losses import LabelRows

    head = torch.eye(4)  # a vocabulary of 4 tokens, width 4
    yes, no = LabelRows.from_head(head, [2], [3])(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    print(yes.tolist(), no.tolist())  # [3.0] [4.0]
    ```

    Args:
        yes: Rows of the label yes, [k_yes, width].
        no: Rows of the label no, [k_no, width].
        trainable: Whether the rows are trained.

    Raises:
        TrainingError: Shapes do not fit.
    """

    def __init__(self, yes: Tensor, no: Tensor, *, trainable: bool = False) -> None:
        super().__init__()
        if yes.ndim != 2 or no.ndim != 2 or yes.shape[1] != no.shape[1] or not (len(yes) and len(no)):
            shapes = f"yes {list(yes.shape)}, no {list(no.shape)}"
            raise TrainingError(f"label rows have shapes {shapes}: give [tokens, width] each, of one width")
        self.yes = nn.Parameter(_precise(yes), requires_grad=trainable)
        self.no = nn.Parameter(_precise(no), requires_grad=trainable)

    @classmethod
    def from_head(cls, head: Tensor, yes_ids: Sequence[int], no_ids: Sequence[int], *, trainable: bool = False) -> Self:
        """Copy rows of a language model's head.

        Args:
            head: The head's weight, [vocabulary, width].
            yes_ids: Token ids of the label yes.
            no_ids: Token ids of the label no.
            trainable: Whether the rows are trained.

        Raises:
            TrainingError: An id is outside the vocabulary or given twice, or a label has no id.
        """
        ids = [*yes_ids, *no_ids]
        if not yes_ids or not no_ids:
            raise TrainingError("a label has no token: give at least one id for yes and one for no")
        if len(set(ids)) != len(ids):
            raise TrainingError(f"label tokens {ids} name one twice: give each id once, for one label")
        if min(ids) < 0 or max(ids) >= len(head):
            raise TrainingError(f"label tokens {ids} are not all in a vocabulary of {len(head)}: check the tokenizer")
        return cls(head[list(yes_ids)], head[list(no_ids)], trainable=trainable)

    @classmethod
    def random(cls, width: int, seed: int, std: float = 0.02) -> Self:
        """Return one trainable random row per label, normal with `std`: D_rand of arXiv 2510.14824.

        How that paper samples them is not known to us; 0.02 is the initialisation of Qwen2.5-VL's own rows
        (`initializer_range` of its configuration). Raises TrainingError for a `std` that is not above 0.
        """
        check_positive("std", std)
        rows = torch.randn(2, 1, width, generator=torch.Generator().manual_seed(seed)) * std
        return cls(rows[0], rows[1], trainable=True)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return z_yes and z_no, [...] each, of hidden states [..., width]. Raises TrainingError for another width."""
        if hidden.shape[-1] != self.yes.shape[1]:
            raise TrainingError(f"hidden states are {hidden.shape[-1]} wide, label rows {self.yes.shape[1]}")
        dtype = torch.promote_types(torch.promote_types(hidden.dtype, self.yes.dtype), torch.float32)
        with torch.autocast(hidden.device.type, enabled=False):
            yes, no = (hidden.to(dtype) @ rows.to(dtype).T for rows in (self.yes, self.no))
            return yes.logsumexp(dim=-1), no.logsumexp(dim=-1)


def _precise(rows: Tensor) -> Tensor:
    return rows.detach().to(torch.promote_types(rows.dtype, torch.float32), copy=True)
