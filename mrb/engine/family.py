"""Model families: what the engine must know of an architecture to load it and to show it images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrb.engine import checkpoint
from mrb.errors import AdapterError

if TYPE_CHECKING:
    from mrb.engine.prompt_template import PromptTemplate
    from mrb.engine.vision import VisionTower


class ModelFamily:
    """Causal language models, and the Qwen-VL models.

    - `bidirectional`: every token sees all others, and the states of all tokens are averaged;
    - `key_mapping`: patterns of weights' names in the file, and what they become.
    """

    bidirectional = False
    key_mapping: Mapping[str, str] | None = None

    def verify(self, folder: Path, layout: PromptTemplate) -> None:
        """Refuse a checkpoint, by its small files, that this family or this prompt does not fit.

        Raises AdapterError.
        """

    def get_loader(self, folder: Path) -> Any:
        """Return the class that loads the checkpoint."""
        return checkpoint.get_loader(folder)

    def build_tower(
        self, model: Any, folder: Path, layout: PromptTemplate, least: int | None, most: int | None
    ) -> VisionTower | None:
        """Return the model's vision tower, None if it has none.

        Args:
            model: The loaded model.
            folder: Its checkpoint.
            layout: Its prompt template, with the usual limits of an image's pixels.
            least: The user's least pixels of an image, or None.
            most: The user's most pixels of an image, or None.

        Raises:
            AdapterError: The limits do not fit, or the image processor is not one of this family.
        """
        from mrb.engine.vision import QwenTower

        if not checkpoint.has_vision_tower(folder):
            return None
        least, most = least or layout.min_pixels, most or layout.max_pixels
        if least > most:
            raise AdapterError(f"layout {layout.name}: min_pixels={least} is over max_pixels={most}")
        return QwenTower(model.model, checkpoint.load_image_processor(folder, least, most))


CAUSAL = ModelFamily()
