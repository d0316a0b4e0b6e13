"""The head: from the hidden state of the last token to one float32 score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrb.engine.prompt_template import Score
from mrb.errors import AdapterError

if TYPE_CHECKING:
    import torch

ROWS_FILE = "label_rows.safetensors"
"""Label rows trained apart from the checkpoint's head: tensors `yes` and `no`, [tokens, hidden] each."""

Head = Callable[["torch.Tensor"], "torch.Tensor"]
"""Hidden states [n, hidden] of any float type -> scores float32[n]."""


def make_label_head(model: Any, positive: int, negative: int | None, score: Score) -> Head:
    """Return a head that reads one or two rows of the language model's output embeddings.

    Logits of the whole vocabulary are never computed: two rows of 150,000 are needed. A difference of two logits is one
    product with the difference of the rows, as in Qwen3-VL-Reranker's own code. Raises AdapterError for a model without
    a language model head, or with a bias or capped logits.
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


def make_mlp_head(weights: tuple[torch.Tensor, ...], shift: float) -> Head:
    """Return the head Linear, ReLU, Linear to one number, minus `shift`.

    `weights` are (w1 [h, h], b1 [h], w2 [1, h], b2 [1]).
    """
    w1, b1, w2, b2 = (weight.float() for weight in weights)

    def score(hidden: torch.Tensor) -> torch.Tensor:
        inner = (hidden.float() @ w1.T + b1).relu()
        return (inner @ w2.T + b2)[:, 0] - shift

    return score


def make_linear_head(weight: torch.Tensor, temperature: float = 1.0) -> Head:
    """Return the head of one row without a bias: `weight` is [1, hidden], and scores are divided by `temperature`.

    Raises AdapterError for another number of rows.
    """
    if weight.ndim != 2 or len(weight) != 1:
        raise AdapterError(f"the score head has the shape {list(weight.shape)}; wanted one row")
    row = weight[0].float() / temperature
    return lambda hidden: hidden.float() @ row


def read_label_rows(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows of yes and of no in a `ROWS_FILE`, float32[tokens, hidden] each.

    Raises AdapterError if the file does not hold exactly the tables `yes` and `no`.
    """
    from safetensors.torch import load_file

    held = load_file(path)
    if set(held) != {"yes", "no"} or any(rows.ndim != 2 for rows in held.values()):
        raise AdapterError(f"{path}: wanted `yes` and `no`, two tables of rows")
    return held["yes"].float(), held["no"].float()


def load_label_head(folder: Path, score: Score, device: torch.device) -> Head | None:
    """Return the head of a checkpoint with its own label rows (`ROWS_FILE`), None if it has none.

    The logit of a label is the logsumexp over its tokens, as in training (`mrb.training.losses.LabelRows`). Raises
    AdapterError like `read_label_rows`.
    """
    path = folder / ROWS_FILE
    if not path.is_file():
        return None
    yes, no = (rows.to(device) for rows in read_label_rows(path))

    def head(hidden: torch.Tensor) -> torch.Tensor:
        positive = (hidden.float() @ yes.T).logsumexp(dim=-1)
        return positive - (hidden.float() @ no.T).logsumexp(dim=-1) if score == "difference" else positive

    return head
