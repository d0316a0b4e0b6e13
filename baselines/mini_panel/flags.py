"""Flags: descriptions and drawings in one space, from pairs of words and from colours by place."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mrb.baselines.retrievers.colours import COLOURS
from mrb.baselines.retrievers.features import ImageFeatures
from mrb.baselines.retrievers.lexical import tokenize

BUCKETS = 4096
"""Rows for words and pairs of words; each takes the row that its CRC-32 names."""
VECTOR = 96
_WORDS = 60  # of a description: what follows is history
_CELLS = 8


def hash_description(text: str) -> list[int]:
    """Return the rows of a description's words and of each two that follow one another."""
    words = tokenize(text)[:_WORDS]
    pairs = [f"{one} {other}" for one, other in pairwise(words)]
    return [zlib.crc32(token.encode()) % BUCKETS for token in [*words, *pairs]]


def stack_colours(images: Sequence[ImageFeatures]) -> Tensor:
    """Return the images' colour maps, float32[n, colours, 8, 8]."""
    maps = np.stack([image.colour_map for image in images]).astype(np.float32)
    return torch.from_numpy(maps).permute(0, 3, 1, 2).contiguous()


class FlagNet(nn.Module):
    """Descriptions and drawings to vectors of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(BUCKETS, VECTOR, mode="mean")
        self.told = nn.Sequential(nn.Linear(VECTOR, 2 * VECTOR), nn.ReLU(), nn.Linear(2 * VECTOR, VECTOR))
        self.shown = nn.Sequential(
            nn.Conv2d(len(COLOURS), 48, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(48, 64, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * (_CELLS // 2) ** 2, VECTOR),
        )

    def embed_texts(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Return float32[n, VECTOR] of texts as `hash_description` reads them."""
        starts = torch.from_numpy(np.cumsum([0, *map(len, texts[:-1])]))
        rows = torch.tensor([row for text in texts for row in text], dtype=torch.long)
        words = self.words(rows, starts)
        return functional.normalize(words + self.told(words), dim=1)

    def embed_colours(self, colours: Tensor) -> Tensor:
        """Return float32[n, VECTOR] of colour maps (`stack_colours`)."""
        return functional.normalize(self.shown(colours), dim=1)
