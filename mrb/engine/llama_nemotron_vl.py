"""The network of NVIDIA's Llama-Nemotron-VL models: Llama without a causal mask, SigLIP, and a projector between them.

transformers has no class for it. The weights' names are the checkpoint's own. Source: nemo-automodel 0.7.0,
components/models/llama_nemotron_vl/model.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import (
    LlamaConfig,
    LlamaModel,
    PretrainedConfig,
    PreTrainedModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

MERGE = 2
"""A token holds a square of so many patches a side."""


class LlamaNemotronVLConfig(PretrainedConfig):
    """The checkpoint's config.json, with the configurations of its two parts."""

    model_type = "llama_nemotron_vl_rerank"
    sub_configs: ClassVar[dict[str, Any]] = {"llm_config": LlamaConfig, "vision_config": SiglipVisionConfig}
    has_no_defaults_at_init = True

    def __init__(
        self, llm_config: Mapping[str, Any] | None = None, vision_config: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        self.llm_config = _make_config(LlamaConfig, llm_config)
        self.vision_config = _make_config(SiglipVisionConfig, vision_config)
        super().__init__(**kwargs)

    def get_text_config(self, *args: Any, **kwargs: Any) -> Any:
        """Return the language model's configuration."""
        return self.llm_config


def _make_config(kind: type[Any], content: Mapping[str, Any] | Any) -> Any:
    if not isinstance(content, Mapping):
        return content if content is not None else kind()
    # The file names a class of the checkpoint's own code, which differs from the stock one in its mask alone.
    return kind(**{key: value for key, value in content.items() if key not in ("model_type", "auto_map")})


class LlamaNemotronVL(PreTrainedModel):
    """The model without its score head."""

    config_class = LlamaNemotronVLConfig
    base_model_prefix = "model"
    _supports_sdpa = True
    _supports_flash_attn = True

    def __init__(self, config: LlamaNemotronVLConfig) -> None:
        super().__init__(config)
        width, hidden = config.vision_config.hidden_size * MERGE**2, config.llm_config.hidden_size
        self.vision_model = SiglipVisionModel(config.vision_config)
        self.language_model = LlamaModel(config.llm_config)
        self.mlp1 = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden))
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Module:
        """Return the table of token embeddings."""
        found: nn.Module = self.language_model.embed_tokens
        return found

    def encode_tiles(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return [tiles, tokens, hidden] for float[tiles, 3, side, side]: four neighbouring patches make a token."""
        seen = self.vision_model(pixel_values=pixel_values).last_hidden_state
        tiles, patches, width = seen.shape
        side = round(patches**0.5) // MERGE
        squares = seen.view(tiles, side, MERGE, side, MERGE, width).permute(0, 1, 3, 2, 4, 5)
        merged: torch.Tensor = self.mlp1(squares.reshape(tiles, side * side, width * MERGE**2))
        return merged
