"""What reaches a vision tower is, bit for bit, what the image processor makes of the image."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PixtralImageProcessorPil, Qwen2VLImageProcessorPil

from mrb.engine.vision import LevelTable, PixtralTower, QwenTower, TileTower
from tests.builders.requests import picture

pytestmark = pytest.mark.torch

SIZES = [(300, 200), (33, 170), (1, 1), (1000, 700)]


class Model:
    """Keeps what it is called with."""

    device = torch.device("cpu")
    dtype = torch.float32
    config = SimpleNamespace(spatial_merge_size=2, vision_config=SimpleNamespace(patch_size=14))

    def __init__(self) -> None:
        self.seen = torch.empty(0)

    def get_image_features(self, values: torch.Tensor, **_: Any) -> Any:
        self.seen = values
        return SimpleNamespace(pooler_output=[torch.empty(1, 1)])

    def encode_tiles(self, values: torch.Tensor) -> torch.Tensor:
        self.seen = values
        return torch.empty(len(values), 1, 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "own",
    [
        {},
        {"patch_size": 16, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.4, 0.3]},
        {"temporal_patch_size": 1, "do_normalize": False},
    ],
)
def test_qwen(own: dict[str, Any], size: tuple[int, int]) -> None:
    processor = Qwen2VLImageProcessorPil(size={"shortest_edge": 3136, "longest_edge": 100_352}, **own)
    model, image = Model(), picture(*size)
    tower = QwenTower(model, processor)
    ready = tower.compute_pixels(image.open())
    tower.encode([ready])
    made = processor(images=[image.open()], return_tensors="pt")
    assert torch.equal(model.seen, made["pixel_values"])
    assert [list(ready.grid)] == made["image_grid_thw"].tolist()
    assert ready.values.numel() == tower.count_patches(image) * tower.patch_bytes


@pytest.mark.parametrize("size", SIZES)
def test_pixtral(size: tuple[int, int]) -> None:
    processor = PixtralImageProcessorPil(size={"longest_edge": 280})
    model, image = Model(), picture(*size)
    tower = PixtralTower(model, processor, patch=28, breaks=(1, 2))
    ready = tower.compute_pixels(image.open())
    tower.encode([ready])
    made = processor(images=[image.open()], patch_size=28, return_tensors="pt")["pixel_values"]
    assert torch.equal(model.seen, made)
    assert ready.values.numel() == tower.count_patches(image) * tower.patch_bytes


def test_tiles_are_scaled_as_the_authors_scale_them() -> None:
    model, image = Model(), picture(80, 40)
    tower = TileTower(model, side=40, patch=20, tokens=1, most=4)
    ready = tower.compute_pixels(image.open())
    tower.encode([ready])
    # Two tiles side by side, and the whole image, from -1 to 1 in bfloat16.
    left = torch.from_numpy(np.asarray(image.open().crop((0, 0, 40, 40)), np.float32)).permute(2, 0, 1)
    assert torch.equal(model.seen[0], ((left / 255 - 0.5) / 0.5).bfloat16().float())
    assert ready.values.numel() == tower.count_patches(image) * tower.patch_bytes


def test_each_colour_has_levels_of_its_own() -> None:
    values = np.arange(768, dtype=np.float32).reshape(3, 256)
    pixels = torch.tensor([[[0, 255], [1, 2], [255, 0]]], dtype=torch.uint8)
    assert LevelTable(values).look_up(pixels).tolist() == [[[0, 255], [257, 258], [767, 512]]]
