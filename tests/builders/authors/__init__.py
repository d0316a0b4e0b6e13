"""Checkpoints and inputs on which authors' own scoring code was run, and the numbers that it gave (authors/*.json).

Weights are drawn from each weight's name, by numpy's frozen generator, so that they are the same under any torch and
transformers. Images are drawn by a formula. tests/builders/authors/README.md says how the numbers are remade.
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from mrb.data.items import ImageHandle, Item
from tests.builders import frozen_checkpoints as tiny
from tests.builders import museum

FOLDER = Path(__file__).parent
MUSEUM = ("nemotron_rerank", "llama_nemotron_vl")
"""Checkpoints of the museum on which authors' code was run: their shape must not change either."""


def build(architecture: str, folder: Path) -> Path:
    """A tiny checkpoint whose weights depend on their names and shapes alone."""
    if architecture in MUSEUM:
        museum.build(architecture, folder)
    else:
        tiny.build(architecture, folder)
    for path in _files(folder):
        save_file({n: _drawn(n, w) for n, w in load_file(path).items()}, path, metadata={"format": "pt"})
    return folder


def _files(folder: Path) -> list[Path]:
    """The files of weights; LoRA weights lie beside their base."""
    base = [folder.parent / "mono_base"] if (folder / "adapter_config.json").exists() else []
    return [path for each in (folder, *base) for path in sorted(each.glob("*.safetensors"))]


def _drawn(name: str, weight: torch.Tensor) -> torch.Tensor:
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(weight.shape))
    if weight.ndim > 1:
        noise *= 0.15
    else:
        noise = 0.1 * noise if name.endswith("bias") else 1 + 0.2 * noise
    return torch.from_numpy(noise.astype(np.float32))


def weights_sum(folder: Path) -> float:
    """A number that another weight, name or shape changes; equal to 1e-6 on every machine."""
    total = 0.0
    for path in _files(folder):
        for name, weight in sorted(load_file(path).items()):
            total += (1 + zlib.crc32(name.encode()) % 997) * float(weight.double().abs().sum())
    return total


def tokenizer_hash(architecture: str, folder: Path) -> str:
    """SHA-256 of the tiny tokenizer's vocabulary, 16 digits."""
    made = (
        AutoTokenizer.from_pretrained(folder, trust_remote_code=False) if architecture in MUSEUM else tiny.tokenizer()
    )
    return hashlib.sha256(json.dumps(sorted(made.get_vocab().items())).encode()).hexdigest()[:16]


@cache
def picture(size: str) -> ImageHandle:
    """A PNG, e.g. of "84x56": waves and a ramp, other for every size."""
    width, height = (int(n) for n in size.split("x"))
    y, x = np.mgrid[:height, :width]
    red = (x * 5 + y * 3 + width) % 256
    green = (x * x // (height + 1) + y) % 256
    blue = ((x // 7 + y // 5) % 2) * 200 + height % 50
    buffer = io.BytesIO()
    Image.fromarray(np.stack([red, green, blue], axis=2).astype(np.uint8)).save(buffer, "PNG")
    data = buffer.getvalue()
    return ImageHandle(lambda: data, where=size)


def item(side: dict[str, str]) -> Item:
    """An item of a file: {"text": ..., "image": "84x56"}, either may be missing."""
    return Item(side.get("text", ""), picture(side["image"]) if "image" in side else None)


@cache
def golden(name: str) -> dict[str, Any]:
    """The content of authors/NAME.json."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content
