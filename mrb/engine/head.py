"""From the hidden state at the decision position to one score, in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrb.engine.prompt_template import Score
from mrb.errors import AdapterError

if TYPE_CHECKING:
    import torch

ROWS_FILE = "label_rows.safetensors"
"""Label rows that a checkpoint was trained with and that are not in its head: `yes` and `no`, [tokens, hidden] each."""

Head = Callable[["torch.Tensor"], "torch.Tensor"]
"""Hidden states [n, hidden] of any float type -> scores float32[n]."""


def two_rows(model: Any, positive: int, negative: int | None, score: Score) -> Head:
    """The head that reads one or two rows of a language model's output embeddings.

    The logits of the whole vocabulary are never formed: of 150,000 rows two are wanted. A difference is one product
    with the difference of the rows, as in Qwen3-VL-Reranker's own code.
    """
    output = model.get_output_embeddings()
    if output is None:
        raise AdapterError(f"{type(model).__name__} has no language model head")
    if getattr(output, "bias", None) is not None:
        raise AdapterError(f"{type(model).__name__}: a head with a bias is not supported")
    config = model.config.get_text_config()
    if getattr(config, "final_logit_softcapping", None):
        raise AdapterError(f"{type(model).__name__}: a head with capped logits is not supported")
    row = output.weight[positive].float()
    if score == "difference":
        assert negative is not None  # a layout with a difference has both labels
        row = row - output.weight[negative].float()
    row = row.clone()
    return lambda hidden: hidden.float() @ row


def mlp(weights: tuple[torch.Tensor, ...], shift: float) -> Head:
    """Linear, ReLU, Linear to one number, minus `shift`: weights are (w1 [h, h], b1 [h], w2 [1, h], b2 [1])."""
    w1, b1, w2, b2 = (weight.float() for weight in weights)

    def score(hidden: torch.Tensor) -> torch.Tensor:
        inner = (hidden.float() @ w1.T + b1).relu()
        return (inner @ w2.T + b2)[:, 0] - shift

    return score


def own_rows(folder: Path, score: Score, device: torch.device) -> Head | None:
    """The head of a checkpoint that has label rows of its own (ROWS_FILE), None if it has none.

    A label's logit is the log of the sum of exp over its tokens, as in training (`mrb.training.losses.LabelRows`).
    """
    path = folder / ROWS_FILE
    if not path.is_file():
        return None
    from safetensors.torch import load_file

    held = load_file(path)
    if set(held) != {"yes", "no"} or any(rows.ndim != 2 for rows in held.values()):
        raise AdapterError(f"{path}: wanted `yes` and `no`, two tables of rows")
    yes, no = (held[name].float().to(device) for name in ("yes", "no"))

    def head(hidden: torch.Tensor) -> torch.Tensor:
        positive = (hidden.float() @ yes.T).logsumexp(dim=-1)
        return positive - (hidden.float() @ no.T).logsumexp(dim=-1) if score == "difference" else positive

    return head
