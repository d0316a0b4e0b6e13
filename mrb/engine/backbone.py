"""Forward pass of the language model: token ids and image features in, one hidden state a row out.

For a causal model it is that of the row's last token, for a bidirectional one the mean over the row's tokens. Rows are
packed into one sequence without padding where the decoder's attention can be replaced (`mrb.engine.packed_attention`).
Elsewhere, and in training, they are right-padded: after a causal row's last token padding cannot affect it; for a
bidirectional model it is masked. Positions are passed explicitly. Logits over the whole vocabulary are never computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mrb.engine.identity import describe_model
from mrb.engine.packed_attention import Packed, Prefix, can_pack, choose_kernel, use_packed_attention
from mrb.engine.prompt import Ids, PlacedImage, Prompt
from mrb.engine.vision import Features
from mrb.errors import AdapterError


@dataclass(frozen=True)
class Row:
    """A slice of a prompt to run through the model: token ids, images, positions.

    Each image's `start` counts from the beginning of the row. `positions` is int64[3, length]: temporal, height and
    width index of an image token; for a text token all three are equal. `shared` is how many of its first tokens
    `Backbone.forward` computes once for all rows that begin with them; 0: none.
    """

    ids: Ids
    images: tuple[PlacedImage, ...]
    positions: Ids
    shared: int = 0


def make_row(prompt: Prompt, features: Mapping[str, Features], start: int = 0, end: int | None = None) -> Row:
    """Return tokens start..end of a prompt as a row. An image must lie wholly inside or wholly outside.

    `features` maps image hashes to features and must cover every image before `end`: their grids determine the
    positions.

    Positions follow Qwen2-VL (arXiv 2409.12191, section 2.1): text continues from the largest index so far; the tokens
    of an image share one temporal index and count rows and columns from it. In a flat prompt every token, image tokens
    included, counts up by one.
    """
    end = len(prompt.ids) if end is None else end
    images = [placed for placed in prompt.images if placed.start < end]
    positions = np.empty((3, end), np.int64)
    at = number = 0
    for placed in [] if prompt.flat else images:
        text = placed.start - at
        positions[:, at : placed.start] = number + np.arange(text)
        number += text
        height, width = features[placed.image.content_hash].grid
        at = placed.start + placed.count
        positions[0, placed.start : at] = number
        positions[1, placed.start : at] = number + np.repeat(np.arange(height), width)
        positions[2, placed.start : at] = number + np.tile(np.arange(width), height)
        number += max(height, width)
    positions[:, at:] = number + np.arange(end - at)
    inside = tuple(PlacedImage(p.image, p.start - start, p.count) for p in images if p.start >= start)
    return Row(prompt.ids[start:end], inside, positions[:, start:])


def group_rows(rows: Sequence[Row]) -> list[tuple[int, list[int]]]:
    """Return (number of shared tokens, places) of the rows that begin with the same tokens and images, in order."""
    found: dict[tuple[bytes, tuple[str, ...]], list[int]] = {}
    for place, row in enumerate(rows):
        images = tuple(placed.image.content_hash for placed in row.images if placed.start < row.shared)
        found.setdefault((row.ids[: row.shared].tobytes(), images), []).append(place)
    return [(rows[places[0]].shared if len(places) > 1 else 0, places) for places in found.values()]


def cut_row(row: Row, start: int, end: int) -> Row:
    """Return tokens start..end of a row. An image must lie wholly inside or wholly outside."""
    inside = (placed for placed in row.images if start <= placed.start < end)
    images = tuple(PlacedImage(placed.image, placed.start - start, placed.count) for placed in inside)
    return Row(row.ids[start:end], images, row.positions[:, start:end])


def make_block_mask(lengths: Sequence[int], parents: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return bool[tokens, tokens]: whether a token (row) sees another (column).

    A part sees itself up to the token, and all of its parent, which stands before it; a part may be its own parent.
    """
    part = np.repeat(np.arange(len(lengths)), lengths)
    parent = np.asarray(parents)[part]
    places = np.arange(len(part))
    seen = (part[:, None] == part) | (parent[:, None] == part)
    found: npt.NDArray[np.bool_] = seen & (places[:, None] >= places)
    return found


def find_decoder(model: Any) -> Any:
    """Return the language model of a loaded model, without its head and vision tower."""
    inner = getattr(model, "model", model)
    return getattr(inner, "language_model", inner)


class Backbone:
    """The decoder of a language model, with a vision tower or without.

    `bidirectional`: every token sees all of its row, and the row's hidden state is the mean over its tokens. Such a
    model cannot share a prefix, as its states depend on what follows. Raises AdapterError if the installed transformers
    attends causally all the same.
    """

    def __init__(self, model: Any, *, bidirectional: bool = False) -> None:
        inner = getattr(model, "model", model)
        self.model = model
        self._decoder = find_decoder(model)
        self._embeds = self._decoder is not inner
        # Qwen-VL counts time, height and width; other models count tokens.
        self._three = hasattr(inner, "get_rope_index")
        self.bidirectional = bidirectional
        self.device = model.device
        self.dtype: torch.dtype = model.dtype
        self.packs = can_pack(self._decoder)
        self.can_share = self.packs and not bidirectional
        if bidirectional and not self.packs:
            _make_bidirectional(self._decoder)
            self._refuse_causal()

    @cached_property
    def kernel(self) -> str:
        """How packed rows attend on this device: a name of `mrb.engine.packed_attention`."""
        config = self._decoder.config
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        kind = self.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.dtype
        return choose_kernel(self.device, dtype, size)

    @cached_property
    def description(self) -> str:
        """One line on the model, and on its attention where that is not the usual one of the device."""
        plain = self.packs and self.kernel == "plain"
        return describe_model(self.model) + (", plain attention (slow)" if plain else "")

    def count_computed(self, lengths: Sequence[int]) -> int:
        """Return how many tokens rows of these lengths cost, padding included."""
        return sum(lengths) if self.packs else len(lengths) * max(lengths)

    def _refuse_causal(self) -> None:
        """Refuse a decoder in which a token does not see the one after it."""
        positions = np.tile(np.arange(2), (3, 1))
        rows = [Row(np.asarray(ids, np.int64), (), positions) for ids in ([1, 2], [1, 3])]
        with torch.inference_mode():
            first, second = self._run_padded(rows, {})[:, 0]
        if torch.equal(first, second):
            from transformers import __version__

            raise AdapterError(
                f"transformers {__version__} attends causally in {type(self._decoder).__name__}, which is "
                "bidirectional: install another release"
            )

    @torch.inference_mode()
    def prefix(self, row: Row, features: Mapping[str, Features]) -> Prefix:
        """Return the keys and values of a row, to be reused by the rows that continue it."""
        kept: Prefix = {}
        self._run_packed([row], features, None, kept)
        return kept

    @torch.inference_mode()
    def pool_hidden(
        self, rows: Sequence[Row], features: Mapping[str, Features], prefix: Prefix | None = None
    ) -> torch.Tensor:
        """Return each row's hidden state [rows, hidden], after the final norm.

        It is that of the last token, in the model's dtype, or for a bidirectional model the mean over all, in float32.
        """
        if not self.packs:
            return self.forward(rows, features)
        hidden = self._run_packed(rows, features, prefix)
        lengths = [len(row.ids) for row in rows]
        if self.bidirectional:
            return torch.stack([states.float().mean(0) for states in hidden.split_with_sizes(lengths)])
        return hidden[torch.tensor(lengths, device=self.device).cumsum(0) - 1]

    def forward(self, rows: Sequence[Row], features: Mapping[str, Features]) -> torch.Tensor:
        """Like `pool_hidden`, but gradients flow to the decoder, its embeddings and the image features."""
        if any(row.shared for row in rows):
            return self._run_families(rows, features)
        hidden = self._run_padded(rows, features)
        if self.bidirectional:
            mask = self._make_mask(rows)
            return hidden.float().masked_fill(~mask[..., None], 0).sum(1) / mask.sum(1)[:, None]
        ends = torch.tensor([len(row.ids) - 1 for row in rows], device=self.device)
        return hidden[torch.arange(len(rows), device=self.device), ends]

    def _run_packed(
        self,
        rows: Sequence[Row],
        features: Mapping[str, Features],
        prefix: Prefix | None,
        kept: Prefix | None = None,
    ) -> torch.Tensor:
        """Return the hidden states [tokens, hidden] of the rows, one after another."""
        lengths = tuple(len(row.ids) for row in rows)
        starts = [(0, sum(lengths[:i])) for i in range(len(rows))]
        ids = np.concatenate([row.ids for row in rows])[None]
        positions = np.concatenate([row.positions for row in rows], axis=1)[:, None]
        packed = Packed(lengths, not self.bidirectional, self.kernel, prefix, kept, self.device)
        with use_packed_attention(self._decoder):
            return self._run_decoder(rows, starts, ids, positions, features, packed=packed)[0]

    def _run_families(self, rows: Sequence[Row], features: Mapping[str, Features]) -> torch.Tensor:
        """Return each row's last hidden state; rows that begin alike have their shared tokens computed once.

        All lie in one sequence, under a mask by which a row sees its prefix and itself.
        """
        parts: list[Row] = []
        parents: list[int] = []
        last = [0] * len(rows)
        for tokens, places in group_rows(rows):
            parent = len(parts)
            if tokens:
                parts.append(cut_row(rows[places[0]], 0, tokens))
                parents.append(parent)
            for place in places:
                last[place] = len(parts)
                parts.append(cut_row(rows[place], tokens, len(rows[place].ids)))
                parents.append(parent if tokens else last[place])
        lengths = [len(part.ids) for part in parts]
        ends = np.cumsum(lengths)
        starts = [(0, int(end) - length) for end, length in zip(ends, lengths, strict=True)]
        ids = np.concatenate([part.ids for part in parts])[None]
        positions = np.concatenate([part.positions for part in parts], axis=1)[:, None]
        mask = torch.from_numpy(make_block_mask(lengths, parents)).to(self.device)[None, None]
        hidden = self._run_decoder(parts, starts, ids, positions, features, attention_mask=mask)[0]
        return hidden[torch.from_numpy(ends[last] - 1).to(self.device)]

    def _run_padded(self, rows: Sequence[Row], features: Mapping[str, Features]) -> torch.Tensor:
        """Return the hidden states [rows, longest row, hidden]."""
        length = max(len(row.ids) for row in rows)
        starts = [(i, 0) for i in range(len(rows))]
        ids = np.stack([np.pad(row.ids, (0, length - len(row.ids))) for row in rows])
        positions = np.stack([_extend_positions(row.positions, length) for row in rows], axis=1)
        more = {"attention_mask": self._make_mask(rows)} if self.bidirectional else {}
        return self._run_decoder(rows, starts, ids, positions, features, **more)

    def _run_decoder(
        self,
        rows: Sequence[Row],
        starts: Sequence[tuple[int, int]],
        ids: Ids,
        positions: Ids,
        features: Mapping[str, Features],
        **more: Any,
    ) -> torch.Tensor:
        """Return the hidden states for `ids` [n, length] at `positions` [3, n, length]; rows begin at `starts`."""
        tokens = torch.from_numpy(ids).to(self.device)
        places = torch.from_numpy(positions if self._three else positions[0]).to(self.device)
        inputs = self._embed_inputs(rows, starts, tokens, features) if self._embeds else {"input_ids": tokens}
        hidden: torch.Tensor = self._decoder(**inputs, position_ids=places, use_cache=False, **more).last_hidden_state
        return hidden

    def _make_mask(self, rows: Sequence[Row]) -> torch.Tensor:
        """Return bool[rows, longest row]: where there is a token."""
        lengths = torch.tensor([len(row.ids) for row in rows], device=self.device)
        return torch.arange(int(lengths.max()), device=self.device)[None] < lengths[:, None]

    def _embed_inputs(
        self,
        rows: Sequence[Row],
        starts: Sequence[tuple[int, int]],
        ids: torch.Tensor,
        features: Mapping[str, Features],
    ) -> dict[str, Any]:
        """Return the inputs with each image's features in place of its placeholder tokens."""
        embeds = self._decoder.embed_tokens(ids)
        seen = [features[placed.image.content_hash] for row in rows for placed in row.images]
        if not seen:
            return {"inputs_embeds": embeds}
        mask = torch.zeros(ids.shape, dtype=torch.bool, device=self.device)
        for row, (i, start) in zip(rows, starts, strict=True):
            for placed in row.images:
                first = start + placed.start
                span = slice(first, first + placed.count)
                # An image begins with the image token; Pixtral's rows also hold tokens that end a row.
                mask[i, span] = ids[i, span] == ids[i, first]
        # Boolean indexing reads the mask row by row, which is the order of `seen`.
        embeds[mask] = torch.cat([f.embeds for f in seen]).to(embeds.dtype)
        inputs: dict[str, Any] = {"inputs_embeds": embeds}
        if seen[0].deep:
            inputs["visual_pos_masks"] = mask
            inputs["deepstack_visual_embeds"] = [
                torch.cat(layers) for layers in zip(*(f.deep for f in seen), strict=True)
            ]
        return inputs


def _make_bidirectional(decoder: Any) -> None:
    """Tell transformers' mask builders and attention functions that attention is not causal."""
    decoder.config.is_causal = False
    for module in decoder.modules():
        if hasattr(module, "is_causal"):
            module.is_causal = False


def _extend_positions(positions: Ids, length: int) -> Ids:
    """Extend `positions` [3, n] to `length`.

    Padding counts on: restarting at 0 would look like a new packed sequence.
    """
    more = length - positions.shape[1]
    if not more:
        return positions
    return np.concatenate([positions, positions[:, -1:] + 1 + np.arange(more)], axis=1)
