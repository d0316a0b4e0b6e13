"""One forward of the language model: token ids and image features in, the hidden state of the last real token out.

Rows are padded on the right and there is no attention mask: attention is causal, so what stands after a row's last
token cannot reach it. Positions are explicit. Hidden states of the vocabulary's size are never made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from mrb.engine.image_features import Features
from mrb.engine.prompt import Ids, Placed, Prompt


@dataclass(frozen=True)
class Row:
    """A stretch of a prompt to run: its ids, its images (`start` counted in the row), and its positions.

    `positions` int64[3, length]: temporal, height and width for an image's tokens, thrice the same number for text.
    """

    ids: Ids
    images: tuple[Placed, ...]
    positions: Ids


def row_of(prompt: Prompt, features: Mapping[str, Features], start: int = 0, end: int | None = None) -> Row:
    """The tokens start..end of a prompt as a row; an image lies wholly inside or outside.

    `features` holds those of every image before `end`, by its hash: their shapes decide the positions.

    Positions as in Qwen2-VL (arXiv 2409.12191, section 2.1): text counts on from the largest number so far; the
    tokens of an image share one temporal number and count rows and columns from it. In a flat prompt every token
    counts on, an image's too.
    """
    end = len(prompt.ids) if end is None else end
    images = [placed for placed in prompt.images if placed.start < end]
    positions = np.empty((3, end), np.int64)
    at = number = 0
    for placed in [] if prompt.flat else images:
        text = placed.start - at
        positions[:, at : placed.start] = number + np.arange(text)
        number += text
        height, width = features[placed.image.sha256].grid
        at = placed.start + placed.count
        positions[0, placed.start : at] = number
        positions[1, placed.start : at] = number + np.repeat(np.arange(height), width)
        positions[2, placed.start : at] = number + np.tile(np.arange(width), height)
        number += max(height, width)
    positions[:, at:] = number + np.arange(end - at)
    inside = tuple(Placed(p.image, p.start - start, p.count) for p in images if p.start >= start)
    return Row(prompt.ids[start:end], inside, positions[:, start:])


class _SharedLayer(DynamicLayer):
    """A layer's keys and values of a prefix, read by every row of a batch and never written."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(keys, values)
        self.keys, self.values = self._prefix = keys, values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prefix and rows side by side; the prefix is not copied until here, one layer at a time."""
        rows = key_states.shape[0]
        keys, values = (held.expand(rows, -1, -1, -1) for held in self._prefix)
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)


Prefix = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values [1, heads, length, head size] of each layer."""


class Backbone:
    """The decoder of a causal language model or of a Qwen-VL model."""

    def __init__(self, model: Any) -> None:
        inner = model.model
        self._decoder = getattr(inner, "language_model", inner)
        self._three = self._decoder is not inner
        self.device = model.device
        self.dtype: torch.dtype = model.dtype
        kinds = getattr(self._decoder.config, "layer_types", None) or ()
        # A window of attention would have to be cut out of the shared keys; such models run each pair whole.
        self.can_share = not any(kind != "full_attention" for kind in kinds)

    @torch.inference_mode()
    def prefix(self, row: Row, features: Mapping[str, Features]) -> Prefix:
        """Keys and values of a row, for the rows that follow it."""
        cache = DynamicCache(config=self._decoder.config)
        self._states([row], features, cache)
        layers: list[Any] = cache.layers
        return [(layer.keys, layer.values) for layer in layers]

    @torch.inference_mode()
    def last_hidden(
        self, rows: Sequence[Row], features: Mapping[str, Features], prefix: Prefix | None = None
    ) -> torch.Tensor:
        """The hidden state [rows, hidden] of each row's last token, after the final norm."""
        cache = None
        if prefix is not None:
            cache = Cache(layers=[_SharedLayer(keys, values) for keys, values in prefix])
        return self.forward(rows, features, cache)

    def forward(
        self, rows: Sequence[Row], features: Mapping[str, Features], cache: Cache | None = None
    ) -> torch.Tensor:
        """As `last_hidden`, and gradients flow: to the decoder, its embeddings, and the features."""
        hidden = self._states(rows, features, cache)
        ends = torch.tensor([len(row.ids) - 1 for row in rows], device=self.device)
        return hidden[torch.arange(len(rows), device=self.device), ends]

    def _states(self, rows: Sequence[Row], features: Mapping[str, Features], cache: Cache | None) -> torch.Tensor:
        length = max(len(row.ids) for row in rows)
        ids = torch.from_numpy(np.stack([np.pad(row.ids, (0, length - len(row.ids))) for row in rows])).to(self.device)
        positions = np.stack([_counted_on(row.positions, length) for row in rows], axis=1)
        inputs: dict[str, Any] = {"past_key_values": cache, "use_cache": cache is not None}
        if self._three:
            inputs["position_ids"] = torch.from_numpy(positions).to(self.device)
            inputs |= self._embedded(rows, ids, features)
        else:
            inputs["position_ids"] = torch.from_numpy(positions[0]).to(self.device)
            inputs["input_ids"] = ids
        hidden: torch.Tensor = self._decoder(**inputs).last_hidden_state
        return hidden

    def _embedded(self, rows: Sequence[Row], ids: torch.Tensor, features: Mapping[str, Features]) -> dict[str, Any]:
        """Embeddings with each image's features in the place of its tokens."""
        embeds = self._decoder.embed_tokens(ids)
        seen = [features[placed.image.sha256] for row in rows for placed in row.images]
        if not seen:
            return {"inputs_embeds": embeds}
        mask = torch.zeros(ids.shape, dtype=torch.bool, device=self.device)
        for i, row in enumerate(rows):
            for placed in row.images:
                mask[i, placed.start : placed.start + placed.count] = True
        # The mask is read row by row, in the order in which `seen` was gathered.
        embeds[mask] = torch.cat([f.embeds for f in seen]).to(embeds.dtype)
        inputs: dict[str, Any] = {"inputs_embeds": embeds}
        if seen[0].deep:
            inputs["visual_pos_masks"] = mask
            inputs["deepstack_visual_embeds"] = [
                torch.cat(layers) for layers in zip(*(f.deep for f in seen), strict=True)
            ]
        return inputs


def _counted_on(positions: Ids, length: int) -> Ids:
    """`positions` [3, n] continued to `length`: padding counts on, as a new start would look like a new sequence."""
    more = length - positions.shape[1]
    if not more:
        return positions
    return np.concatenate([positions, positions[:, -1:] + 1 + np.arange(more)], axis=1)
