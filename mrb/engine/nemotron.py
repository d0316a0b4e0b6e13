"""NVIDIA's rerankers: bidirectional language models whose states are averaged and read by a linear layer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrb.data.inputs import StatedInputs
from mrb.data.items import ImageHandle, Item
from mrb.engine import checkpoint
from mrb.engine.chat_template import read_chat_template, render_pair
from mrb.engine.family import ModelFamily
from mrb.engine.prompt_template import PromptTemplate, render
from mrb.engine.yes_no import YesNo
from mrb.errors import AdapterError, to_one_line

if TYPE_CHECKING:
    from mrb.engine.head import Head
    from mrb.engine.vision import VisionTower

TEXT_QUERIES: StatedInputs = {"query": ("text",), "document": ("text", "image", "image+text")}
_MIXED = re.compile(r"5\.1[789]\.")
"""Releases of transformers whose Pixtral tower loses the borders between images with flash attention."""


def _verify_config(folder: Path, kind: str, wanted: Mapping[str, object]) -> dict[str, Any]:
    """Return config.json.

    Raises AdapterError if it is not of the model type `kind` or a value is not the wanted one.
    """
    config = checkpoint.read_config(folder)
    for key, value in {"model_type": kind, **wanted}.items():
        if config.get(key, value) != value:
            raise AdapterError(f"{folder}: config.json has {key}={to_one_line(config[key], 40)!r}; wanted {value!r}")
    return config


class BidirectionalMistral(ModelFamily):
    """Ministral 3 without a causal mask, with a Pixtral tower, as NeMo AutoModel exports it.

    `layouts` are the prompts that the checkpoint's chat template may hold: it is rendered and compared.
    """

    bidirectional = True
    # As in the authors' loader: a stock checkpoint has one more level above the layers.
    key_mapping: Mapping[str, str] = {r"^language_model\.model\.": "language_model."}

    def __init__(self, layouts: Sequence[PromptTemplate]) -> None:
        self._layouts = layouts

    def verify(self, folder: Path, layout: PromptTemplate) -> None:
        """Refuse another model type, pooling or mask, and a chat template that shows another prompt than `layout`."""
        import transformers

        config = _verify_config(folder, "mistral3", {"pooling": "avg", "is_causal": False})
        if config.get("text_config", {}).get("is_causal", True):
            raise AdapterError(f"{folder}: text_config of config.json does not say is_causal=false")
        if _MIXED.match(transformers.__version__):
            raise AdapterError(
                f"transformers {transformers.__version__} mixes the images of a batch in Pixtral: install another "
                "release"
            )
        template = read_chat_template(folder)
        if template is None:
            raise AdapterError(
                f"{folder}: holds no chat template, so it is not known whether its prompt is that of the layout "
                f"{layout.name}"
            )
        fits = [one.name for one in self._layouts if _shows_prompt(template, one)]
        if layout.name not in fits:
            hint = (
                f"its prompt is that of --set layout={fits[0]}" if fits else "no layout of this adapter has its prompt"
            )
            raise AdapterError(f"{folder}: the chat template is not that of the layout {layout.name}: {hint}")

    def get_loader(self, folder: Path) -> Any:
        """Return the stock class without a head; the score head is read apart."""
        from transformers import Mistral3Model

        return Mistral3Model

    def build_tower(
        self, model: Any, folder: Path, layout: PromptTemplate, least: int | None, most: int | None
    ) -> VisionTower:
        """Return the Pixtral tower, with the checkpoint's own longest edge unless the user gives `most`."""
        from mrb.engine.vision import PixtralTower

        if least is not None:
            raise AdapterError(f"layout {layout.name}: min_pixels has no meaning: small images are not enlarged")
        patch = int(model.config.vision_config.patch_size) * int(model.config.spatial_merge_size)
        processor = checkpoint.load_pixtral_processor(folder, most, patch)
        tokenizer = checkpoint.load_tokenizer(folder)
        ends = [tokenizer.convert_tokens_to_ids(token) for token in ("[IMG_BREAK]", "[IMG_END]")]
        if None in ends or tokenizer.unk_token_id in ends:
            raise AdapterError(f"{folder}: its tokenizer has no [IMG_BREAK] or [IMG_END]")
        return PixtralTower(model, processor, patch=patch, breaks=(ends[0], ends[1]))


def _shows_prompt(template: str, layout: PromptTemplate) -> bool:
    """Return whether a chat template renders pairs as the layout does."""
    page = ImageHandle(lambda: b"", where="the comparison of prompts")
    query = "a [b] <c> "
    documents = [Item("d [IMG] <s>\n"), Item(" e ", page), Item("", page)]
    return all(render_pair(template, query, one) == render(layout, "", Item(query), one).text for one in documents)


class LlamaNemotron(ModelFamily):
    """Llama 3.2 without a causal mask, with a SigLIP tower that sees an image in tiles."""

    bidirectional = True

    def verify(self, folder: Path, layout: PromptTemplate) -> None:
        """Refuse another model type, pooling, projector or prompt."""
        wanted: dict[str, object] = {"pooling": "avg", "select_layer": -1, "downsample_ratio": 0.5, "ps_version": "v2"}
        config = _verify_config(folder, "llama_nemotron_vl_rerank", wanted)
        if config.get("prompt_template") != "v1":
            raise AdapterError(
                f"{folder}: config.json has prompt_template={to_one_line(config.get('prompt_template'), 40)!r}; the "
                f"layout {layout.name} is 'v1'"
            )

    def get_loader(self, folder: Path) -> Any:
        """Return MRB's own class: transformers has none."""
        from mrb.engine.llama_nemotron_vl import LlamaNemotronVL

        return LlamaNemotronVL

    def build_tower(
        self, model: Any, folder: Path, layout: PromptTemplate, least: int | None, most: int | None
    ) -> VisionTower:
        """Return the tower; an image has as many tiles as fit into `most` pixels, and one at least."""
        from mrb.engine.llama_nemotron_vl import MERGE
        from mrb.engine.vision import TileTower

        if least is not None:
            raise AdapterError(f"layout {layout.name}: min_pixels has no meaning: an image has one tile at least")
        side, patch = (int(getattr(model.config.vision_config, name)) for name in ("image_size", "patch_size"))
        tiles = max(1, (most or layout.max_pixels) // side**2)
        return TileTower(model, side=side, patch=patch, tokens=(side // patch // MERGE) ** 2, most=tiles)


class Pooled(YesNo):
    """A reranker whose score a linear layer reads from the mean of the last states. Text queries only.

    `heads` are the names that the score head may have in the checkpoint.
    """

    heads: Sequence[str]
    inputs = TEXT_QUERIES

    def make_head(self, model: Any, folder: Path, tokenizer: Any) -> Head:
        """Return the linear head in float32, divided by the temperature that config.json states for scores."""
        from mrb.engine.head import make_linear_head

        weight = checkpoint.read_first_weight(folder, self.heads)
        return make_linear_head(weight.to(model.device), self.get_temperature(checkpoint.read_config(folder)))

    def get_temperature(self, config: Mapping[str, Any]) -> float:
        """Return what the model divides its scores by."""
        return 1.0
