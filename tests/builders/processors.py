"""transformers' processor of Qwen3.5 without its video part, which alone needs torchvision."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor


class ImageProcessor(Qwen3VLProcessor):  # type: ignore[misc]
    """Its text and image parts, with Pillow."""

    def __init__(self, image_processor: Any, tokenizer: Any, chat_template: str | None = None) -> None:
        transformers.ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)
        for kind in ("image", "video"):
            setattr(self, f"{kind}_token", f"<|{kind}_pad|>")
            setattr(self, f"{kind}_token_id", tokenizer.convert_tokens_to_ids(f"<|{kind}_pad|>"))


@contextmanager
def without_torchvision() -> Iterator[None]:
    """Let `AutoProcessor` read a folder of Qwen3.5 without the video part."""
    usual = transformers.AutoProcessor.from_pretrained

    def read(folder: str, **options: Any) -> Any:
        config = Path(folder) / "config.json"
        if not config.is_file() or json.loads(config.read_text())["model_type"] != "qwen3_5":
            return usual(folder, **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        images = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
        return ImageProcessor(images, tokenizer, (Path(folder) / "chat_template.jinja").read_text(encoding="utf-8"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers.AutoProcessor, "from_pretrained", read)
        yield
