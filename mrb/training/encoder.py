"""Encoders of BERT's and ModernBERT's kind as bases: a pair of texts, the first token's state, two label rows.

The label rows start as the input embeddings of the labels. The trained model is saved as a CrossEncoder of
sentence-transformers: the encoder with its LoRA weights merged, the first token, and a linear layer of one row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mrb._util.files import write_json
from mrb.engine.backbone import Backbone, Row
from mrb.engine.checkpoint import load_model
from mrb.engine.prompt import Ids
from mrb.engine.prompt_template import PromptTemplate
from mrb.engine.vision import Features
from mrb.errors import TrainingError

ENCODERS = ("bert", "modernbert")
"""`model_type` of the encoders that can be trained."""
PAIR = PromptTemplate("pair", "{query}{seam}[SEP]{document}", special_tokens=True, max_length=512)
PAIR_CL = replace(PAIR, name="pair-cl", score="positive")
LAYOUTS = (PAIR, PAIR_CL)
LAYERS = (
    r"(.*\.)?layers?\.\d+\.(attention\.self\.(query|key|value)|(attention\.output|intermediate|output)\.dense"
    r"|attn\.(Wqkv|Wo)|mlp\.(Wi|Wo))"
)
"""The linear layers of an encoder: the default of `tuning.targets`."""
_HEADS = (r"^(cls|pooler|head|decoder|classifier)\.",)
"""Parts of checkpoints that no score depends on."""
_PACKAGE = "sentence_transformers"


class EncoderBackbone(Backbone):
    """An encoder. A row's hidden state is that of its first token."""

    def __init__(self, model: Any) -> None:
        self.model = self._decoder = model
        self._embeds = self._three = False
        self._separator: int = getattr(model.config, "sep_token_id", None) or -1
        self._typed = hasattr(model.embeddings, "token_type_embeddings")
        self.bidirectional = True
        self.device = model.device
        self.dtype: torch.dtype = model.dtype
        self.packs = self.can_share = False

    def forward(self, rows: Sequence[Row], features: Mapping[str, Features]) -> Tensor:
        """Return each row's hidden state, in the model's dtype. Gradients flow."""
        return self._run_padded(rows, features)[:, 0]

    def _run_decoder(
        self,
        rows: Sequence[Row],
        starts: Sequence[tuple[int, int]],
        ids: Ids,
        positions: Ids,
        features: Mapping[str, Features],
        **more: Any,
    ) -> Tensor:
        tokens = torch.from_numpy(ids).to(self.device)
        if self._typed:  # the document, and the separator after it, are of the second type
            ends = (tokens == self._separator).long()
            more["token_type_ids"] = (ends.cumsum(1) - ends).clamp(max=1)
        places = torch.from_numpy(positions[0]).to(self.device)
        hidden: Tensor = self._decoder(input_ids=tokens, position_ids=places, **more).last_hidden_state
        return hidden


def is_encoder(config: Any) -> bool:
    """Return whether a configuration, of transformers or as read from config.json, is that of an encoder."""
    kind = config.get("model_type") if isinstance(config, Mapping) else config.model_type
    return kind in ENCODERS


def make_backbone(model: Any) -> Backbone:
    """Return the backbone of a model that is trained."""
    return EncoderBackbone(model) if is_encoder(model.config) else Backbone(model)


def load_encoder(folder: Path, tokenizer: Any, max_length: int, *, dtype: torch.dtype, attention: str | None) -> Any:
    """Load an encoder without dropout. Raises TrainingError if `max_length` is over what it takes."""
    from transformers import AutoModel

    model = load_model(folder, AutoModel, dtype=dtype, attention=attention, ignored=_HEADS)
    longest = model.config.max_position_embeddings
    if max_length > longest:
        raise TrainingError(f"model.max_length {max_length}: {folder} takes {longest} tokens at most")
    model.config.sep_token_id = tokenizer.sep_token_id
    drop_dropout(model)
    return model


def drop_dropout(model: Any) -> None:
    """Turn dropout off: losses that compare documents need two passes that compute the same."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def unfreeze_encoder(model: Any, embeddings: bool) -> Any:
    """Make the layers trainable, and the embeddings if they are to be. The pooler is not used."""
    for name, values in model.named_parameters():
        values.requires_grad_(embeddings if name.startswith("embeddings.") else not name.startswith("pooler."))
    return model


def write_pair_encoder(folder: Path, row: Tensor, max_length: int) -> None:
    """Write the CrossEncoder files next to the encoder in `folder`. `row` makes a score of the first token's state."""
    modules = {
        "": f"{_PACKAGE}.base.modules.transformer.Transformer",
        "1_Pooling": f"{_PACKAGE}.sentence_transformer.modules.pooling.Pooling",
        "2_Dense": f"{_PACKAGE}.base.modules.dense.Dense",
    }
    listed = [{"idx": n, "name": str(n), "path": path, "type": kind} for n, (path, kind) in enumerate(modules.items())]
    write_json(folder / "modules.json", listed)
    write_json(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings",
            "max_seq_length": max_length,
        },
    )
    write_json(
        folder / "config_sentence_transformers.json",
        {"model_type": "CrossEncoder", "activation_fn": "torch.nn.modules.linear.Identity", "prompts": {}},
    )
    pooling = {"embedding_dimension": len(row), "pooling_mode": "cls", "include_prompt": True}
    write_json(folder / "1_Pooling" / "config.json", pooling)
    dense = {
        "in_features": len(row),
        "out_features": 1,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
        "module_input_name": "sentence_embedding",
        "module_output_name": "scores",
    }
    write_json(folder / "2_Dense" / "config.json", dense)
    save_file({"linear.weight": row[None].contiguous()}, folder / "2_Dense" / "model.safetensors")
