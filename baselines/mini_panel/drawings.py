"""Drawings: a convolutional network that puts drawings of one thing near each other, and follows a change in words."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from mrb.baselines.mini_panel.pooling import HalvingPool
from mrb.baselines.retrievers.features import find_ink_box
from mrb.baselines.retrievers.lexical import tokenize
from mrb.data.items import ImageHandle

SIDE = 40
"""Pixels of the square that a drawing is scaled to, whatever its shape."""
WIDTHS = (32, 64, 128, 160)
VECTOR = 96
BUCKETS = 128
"""Rows for the words of a change; a word takes the row that its CRC-32 names."""
_WORD = 32

UInt8 = npt.NDArray[np.uint8]


def read_drawing(image: ImageHandle) -> UInt8:
    """Return uint8[SIDE, SIDE, 3]: the image without white margins."""
    from PIL import Image

    opened = image.open()
    box = find_ink_box(np.asarray(opened))
    return np.asarray(opened.resize((SIDE, SIDE), Image.Resampling.BOX, box=box))


def stack_drawings(drawings: Sequence[UInt8]) -> Tensor:
    """Return float32[n, 3, SIDE, SIDE], 0 to 1."""
    # Channels last, as the arrays are and as convolutions are fastest.
    return torch.from_numpy(np.stack(drawings)).permute(0, 3, 1, 2).float() / 255


def hash_words(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return the rows of the texts' words one after the other, and where each text starts."""
    rows = [[zlib.crc32(word.encode()) % BUCKETS for word in tokenize(text)] for text in texts]
    starts = np.cumsum([0, *map(len, rows[:-1])])
    return torch.tensor([row for own in rows for row in own], dtype=torch.long), torch.from_numpy(starts)


class DrawingNet(nn.Module):
    """Drawings to vectors of length 1; `change` moves a vector to where the words say."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 5
        for outputs in WIDTHS:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            layers.append(HalvingPool())
            inputs = outputs
        self.shapes = nn.Sequential(*layers)
        self.vector = nn.Linear(inputs * 4, VECTOR)  # a grid of 2 x 2: where things are
        self.words = nn.EmbeddingBag(BUCKETS, _WORD, mode="mean")
        self.moved = nn.Sequential(nn.Linear(VECTOR + _WORD, 192), nn.ReLU(), nn.Linear(192, VECTOR))

    def forward(self, drawings: Tensor) -> Tensor:
        """Return float32[n, VECTOR] of float32[n, 3, SIDE, SIDE]."""
        grey = drawings.mean(1, keepdim=True)
        across = functional.pad(grey[..., 1:] - grey[..., :-1], (0, 1)).abs()
        down = functional.pad(grey[..., 1:, :] - grey[..., :-1, :], (0, 0, 0, 1)).abs()
        seen = torch.cat([drawings - 0.5, 2 * across, 2 * down], 1)
        shapes = self.shapes(seen.contiguous(memory_format=torch.channels_last))
        flat = functional.adaptive_avg_pool2d(shapes, 2).flatten(1)
        return functional.normalize(self.vector(flat), dim=1)

    def change(self, vectors: Tensor, rows: Tensor, starts: Tensor) -> Tensor:
        """Return the vectors of what each text (`hash_words`) makes of a drawing's vector."""
        told = torch.cat([vectors, self.words(rows, starts)], 1)
        return functional.normalize(vectors + self.moved(told), dim=1)
