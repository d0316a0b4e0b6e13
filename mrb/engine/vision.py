"""The vision towers of the engine's model families: an image's size in tokens, its pixels, its features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from mrb.data.items import ImageHandle
from mrb.engine.aspect_ratio import refuse_thin
from mrb.engine.prompt import Ids

if TYPE_CHECKING:
    from PIL import Image

ANY = 1 << 62
_PIXTRAL_PATCHES = 1 << 14
"""Pixtral's attention mask has the square of the patches as its size."""
_ENOUGH = 0.6
"""A grid of tiles with more than this share of the image's pixels is no better: the models' own choice."""


@dataclass(frozen=True)
class Pixels:
    """A resized image, ready for the vision tower.

    `values` is uint8, in the tower's own order; `grid` is (tiles, height, width) in patches.
    """

    values: torch.Tensor
    grid: tuple[int, int, int]


@dataclass(frozen=True)
class Features:
    """An image as input of the language model.

    `embeds` is [tokens, hidden]; `deep` holds one tensor of that shape per early layer that takes one (Qwen3-VL);
    `grid` is (height, width) in tokens.
    """

    embeds: torch.Tensor
    deep: tuple[torch.Tensor, ...]
    grid: tuple[int, int]

    @property
    def bytes(self) -> int:
        """Size of the tensors in bytes."""
        return sum(t.numel() * t.element_size() for t in (self.embeds, *self.deep))


class LevelTable:
    """What a tower takes for each level of each colour, 0 to 255.

    An image processor rescales and normalises every value for itself, so a table of its results gives the same bits.
    Pixels then wait, and travel to the device, as bytes: an eighth of what Qwen-VL's processor makes of them.

    Args:
        values: float32[3, 256].
    """

    def __init__(self, values: npt.NDArray[np.float32]) -> None:
        self._values = torch.from_numpy(values.reshape(-1))

    @classmethod
    def read(cls, processor: Any) -> LevelTable:
        """Return the table of a transformers image processor on Pillow and numpy."""
        values = np.tile(np.arange(256, dtype=np.uint8), (3, 1, 1))  # an image of [3, 1, 256]
        if processor.do_rescale:
            values = processor.rescale(values, processor.rescale_factor)
        if processor.do_normalize:
            values = processor.normalize(values, processor.image_mean, processor.image_std)
        return cls(values.astype(np.float32))

    def look_up(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return float32 of the shape of `pixels`: uint8[n, 3, ...] on any device."""
        self._values = self._values.to(pixels.device)
        rows = 256 * torch.arange(3, dtype=torch.int32, device=pixels.device)
        index = pixels.int() + rows.view(3, *[1] * (pixels.dim() - 2))
        return self._values.index_select(0, index.flatten()).view(pixels.shape)


class VisionTower(Protocol):
    """What the engine needs of a family's images. Sizes are found from an image's header alone."""

    patch_bytes: int
    """Size of a patch's pixels in bytes."""
    most_patches: int
    """The most patches of several images in one forward pass."""

    def count_patches(self, image: ImageHandle) -> int:
        """Return how many patches the image becomes. Raises DataError for a shape that cannot be resized."""
        ...

    def count_tokens(self, image: ImageHandle) -> int:
        """Return how many tokens the image takes in a prompt. Raises DataError like `count_patches`."""
        ...

    def make_ids(self, image: ImageHandle, image_id: int) -> Ids | None:
        """Return the image's tokens in a prompt, the first of them `image_id`, which stands where its features go.

        None if all are `image_id`.
        """
        ...

    def compute_pixels(self, opened: Image.Image) -> Pixels:
        """Return the tower's input for a decoded image."""
        ...

    def encode(self, pixels: Sequence[Pixels]) -> list[Features]:
        """Return the tower's output for each image."""
        ...


def count_image_tokens(processor: Any, image: ImageHandle) -> int:
    """Return how many tokens an image takes in a Qwen-VL model. Raises DataError like `refuse_thin`."""
    return _count_qwen_patches(processor, image) // int(processor.merge_size) ** 2


def _count_qwen_patches(processor: Any, image: ImageHandle) -> int:
    refuse_thin(image)
    width, height = image.open_size
    return int(processor.get_number_of_image_patches(height, width))


class QwenTower:
    """The tower of Qwen2-VL and its successors. `model` holds it, `processor` resizes to its own pixel limits."""

    most_patches = ANY

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._processor = processor
        self._merge = int(processor.merge_size)
        self._side = int(processor.patch_size)
        self._frames = int(processor.temporal_patch_size)
        self._levels = LevelTable.read(processor)
        self.patch_bytes = 3 * self._side**2

    def count_patches(self, image: ImageHandle) -> int:
        """Return how many patches the processor makes of the image. Raises DataError like `refuse_thin`."""
        return _count_qwen_patches(self._processor, image)

    def count_tokens(self, image: ImageHandle) -> int:
        """Return how many tokens the image takes. Raises DataError like `refuse_thin`."""
        return count_image_tokens(self._processor, image)

    def make_ids(self, image: ImageHandle, image_id: int) -> Ids | None:
        """Return None: all tokens are the image token."""
        return None

    def compute_pixels(self, opened: Image.Image) -> Pixels:
        """Return uint8[patches, 3, pixels of a patch], resized as the processor does."""
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

        side, merge, size = self._side, self._merge, self._processor.size
        height, width = smart_resize(
            opened.height,
            opened.width,
            factor=side * merge,
            min_pixels=size["shortest_edge"],
            max_pixels=size["longest_edge"],
        )
        resized = np.asarray(opened.resize((width, height), self._processor.resample))
        rows, columns = height // side, width // side
        # Patches that become one token stand together.
        squares = resized.reshape(rows // merge, merge, side, columns // merge, merge, side, 3)
        patches = squares.transpose(0, 3, 1, 4, 6, 2, 5).reshape(rows * columns, 3, side * side)
        return Pixels(torch.from_numpy(patches), (1, rows, columns))

    def encode(self, pixels: Sequence[Pixels]) -> list[Features]:
        """Return the tower's output for each image."""
        device = self._model.device
        grids = torch.tensor([p.grid for p in pixels], device=device)
        values = self._levels.look_up(_join(pixels, device))
        # A still image fills all frames of a patch.
        patches = values[:, :, None].expand(-1, -1, self._frames, -1).flatten(1)
        out = self._model.get_image_features(patches, image_grid_thw=grids)
        deep = getattr(out, "deepstack_features", None) or ()
        return [
            Features(embeds, tuple(layer[i] for layer in deep), (p.grid[1] // self._merge, p.grid[2] // self._merge))
            for i, (embeds, p) in enumerate(zip(out.pooler_output, pixels, strict=True))
        ]


class PixtralTower:
    """Pixtral's tower in a Mistral 3 model: patches in rows, merged in squares; each row of tokens ends with a break.

    `processor` is the checkpoint's, with its own longest edge; `patch` is the side of a token in pixels; `breaks` are
    the ids of the tokens at the end of a row and of the image.
    """

    most_patches = _PIXTRAL_PATCHES

    def __init__(self, model: Any, processor: Any, *, patch: int, breaks: tuple[int, int]) -> None:
        self._model = model
        self._processor = processor
        self._longest = int(processor.size["longest_edge"])
        self._patch = patch
        self._break_id, self._end_id = breaks
        self._merge = int(model.config.spatial_merge_size)
        self._levels = LevelTable.read(processor)
        self.patch_bytes = 3 * int(model.config.vision_config.patch_size) ** 2

    def _count_grid(self, image: ImageHandle) -> tuple[int, int]:
        """Return (rows, columns) in tokens, as transformers' Pixtral processor resizes."""
        width, height = image.open_size
        ratio = max(height, width) / self._longest
        if ratio > 1:
            height, width = math.floor(height / ratio), math.floor(width / ratio)
        if not min(height, width):
            width, height = image.open_size
            raise image.error(
                f"an image of {width} x {height} pixels is too thin for this model: nothing of it is left"
            )
        return -(-height // self._patch), -(-width // self._patch)

    def count_patches(self, image: ImageHandle) -> int:
        """Return how many patches the image becomes. Raises DataError if nothing is left of a thin one."""
        rows, columns = self._count_grid(image)
        return rows * columns * self._merge**2

    def count_tokens(self, image: ImageHandle) -> int:
        """Return how many tokens the image takes, breaks included. Raises DataError like `count_patches`."""
        rows, columns = self._count_grid(image)
        return rows * (columns + 1)

    def make_ids(self, image: ImageHandle, image_id: int) -> Ids:
        """Return rows of image tokens, each with the break token after it; the last one is the end token."""
        rows, columns = self._count_grid(image)
        ids = np.full((rows, columns + 1), image_id, np.int64)
        ids[:, -1] = self._break_id
        ids[-1, -1] = self._end_id
        return ids.reshape(-1)

    def compute_pixels(self, opened: Image.Image) -> Pixels:
        """Return uint8[3, height, width]."""
        made = self._processor(
            images=[opened], patch_size=self._patch, do_rescale=False, do_normalize=False, return_tensors="np"
        )
        values = torch.from_numpy(np.ascontiguousarray(made["pixel_values"][0], np.uint8))
        step = self._patch // self._merge
        return Pixels(values, (1, values.shape[1] // step, values.shape[2] // step))

    def encode(self, pixels: Sequence[Pixels]) -> list[Features]:
        """Return the tower's output for each image."""
        sizes = [(p.values.shape[1], p.values.shape[2]) for p in pixels]
        height, width = (max(side) for side in zip(*sizes, strict=True))
        device = self._model.device
        # Padding to a common size: the tower cuts each image out again before its first layer.
        padded = [
            torch.nn.functional.pad(p.values.to(device, non_blocking=True), (0, width - w, 0, height - h))
            for p, (h, w) in zip(pixels, sizes, strict=True)
        ]
        values = self._levels.look_up(torch.stack(padded))
        out = self._model.get_image_features(values, image_sizes=torch.tensor(sizes, device=device))
        return [
            Features(embeds, (), (h // self._patch, w // self._patch))
            for embeds, (h, w) in zip(out.pooler_output, sizes, strict=True)
        ]


class TileTower:
    """A tower of fixed size that sees an image in up to `most` square tiles, and all of it again if they are several.

    `model.encode_tiles` maps float[tiles, 3, side, side] to [tiles, tokens, hidden].
    """

    most_patches = ANY

    def __init__(self, model: Any, *, side: int, patch: int, tokens: int, most: int) -> None:
        self._model = model
        self._side = side
        self._most = most
        self._tokens = tokens
        self._patches = side // patch
        # From -1 to 1, rounded to bfloat16 as the authors' processor does.
        levels = (np.arange(256, dtype=np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
        self._levels = LevelTable(torch.from_numpy(np.tile(levels, (3, 1))).bfloat16().float().numpy())
        self.patch_bytes = 3 * patch * patch

    def _count_tiles(self, image: ImageHandle) -> int:
        width, height = image.open_size
        columns, rows = choose_grid(width, height, self._side, self._most)
        return columns * rows + (columns * rows > 1)

    def count_patches(self, image: ImageHandle) -> int:
        """Return how many patches the image becomes."""
        return self._count_tiles(image) * self._patches**2

    def count_tokens(self, image: ImageHandle) -> int:
        """Return how many tokens the image takes."""
        return self._count_tiles(image) * self._tokens

    def make_ids(self, image: ImageHandle, image_id: int) -> Ids | None:
        """Return None: all tokens are the image token."""
        return None

    def compute_pixels(self, opened: Image.Image) -> Pixels:
        """Return uint8[tiles, 3, side, side]."""
        from PIL import Image

        side = self._side
        columns, rows = choose_grid(*opened.size, side, self._most)
        whole = opened.resize((side * columns, side * rows), Image.Resampling.BICUBIC)
        boxes = [(c * side, r * side, (c + 1) * side, (r + 1) * side) for r in range(rows) for c in range(columns)]
        tiles = [whole.crop(box) for box in boxes]
        if len(tiles) > 1:
            tiles.append(opened.resize((side, side), Image.Resampling.BICUBIC))
        values = np.ascontiguousarray(np.stack([np.asarray(tile) for tile in tiles]).transpose(0, 3, 1, 2))
        return Pixels(torch.from_numpy(values), (len(tiles), self._patches, self._patches))

    def encode(self, pixels: Sequence[Pixels]) -> list[Features]:
        """Return the tower's output for each image."""
        values = self._levels.look_up(_join(pixels, self._model.device))
        found = self._model.encode_tiles(values.to(self._model.dtype))
        split = found.split([len(p.values) for p in pixels])
        return [Features(tiles.flatten(0, 1), (), (tiles.shape[0] * tiles.shape[1], 1)) for tiles in split]


@cache
def _list_grids(most: int) -> list[tuple[int, int]]:
    """Return (columns, rows) of at most `most` tiles, fewest first, in the order of the authors' code."""
    pairs = {(i, j) for n in range(1, most + 1) for i in range(1, n + 1) for j in range(1, n + 1) if i * j <= most}
    return sorted(pairs, key=lambda pair: pair[0] * pair[1])


def choose_grid(width: int, height: int, side: int, most: int) -> tuple[int, int]:
    """Return (columns, rows) of the tiles for an image: the nearest aspect ratio, weighed by how many pixels it keeps.

    Args:
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        side: Side of a tile in pixels.
        most: The most tiles.

    Example:
        >>> choose_grid(1240, 1754, 512, 6)
        (2, 3)
    """
    ratio = width / height
    best, found = -math.inf, (1, 1)
    for columns, rows in _list_grids(most):
        kept = columns * rows * side * side / (width * height)
        wanted = columns / rows
        factor = min(kept, _ENOUGH) * min(wanted / ratio, ratio / wanted)
        if factor > best:  # the first of equals
            best, found = factor, (columns, rows)
    return found


def _join(pixels: Sequence[Pixels], device: torch.device) -> torch.Tensor:
    return torch.cat([p.values.to(device, non_blocking=True) for p in pixels])
