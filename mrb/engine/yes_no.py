"""Base class of pointwise yes/no rerankers: a checkpoint, a prompt template, and the user's options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrb.data.inputs import StatedInputs
from mrb.data.items import Item
from mrb.engine.family import CAUSAL, ModelFamily
from mrb.engine.prompt_template import PromptTemplate
from mrb.errors import AdapterError
from mrb.rerankers.plugins import find_installed_name
from mrb.rerankers.reranker import Request

if TYPE_CHECKING:
    from mrb.engine.head import Head


class YesNo:
    """A reranker that asks a language model for one of two labels.

    A subclass states its checkpoint and its prompt in class attributes and nothing else:

    - `model`, `revision`: a Hub repository and the commit to load; None where the user must name one;
    - `prompt`: the prompt template that the model was trained with (None where the user must name one), and
      `other_prompts`, which may be chosen instead;
    - `inputs`: the modalities it takes, on both sides or by side (`{"query": ..., "document": ...}`);
    - `family`: the architecture, where it is not a causal language model or a Qwen-VL model;
    - `ignored`: regular expressions of weights that its score does not need: they may be missing or unexpected;
    - `make_head`, if it is not the usual two label rows.
    """

    inputs: StatedInputs = ("text", "image", "image+text")
    version = "1"
    model: str | None = None
    revision: str | None = None
    prompt: PromptTemplate | None = None
    family: ModelFamily = CAUSAL
    other_prompts: tuple[PromptTemplate, ...] = ()
    ignored: Sequence[str] = ()

    def __init__(
        self,
        path: str | None = None,
        revision: str | None = None,
        layout: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        attention: str | None = None,
        max_length: int | None = None,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        batch_tokens: int = 0,
        share_prefix: bool = True,
        cache_mb: int = 2048,
        image_threads: int = 0,
        base: str | None = None,
        base_revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Load the model.

        Args:
            path: Local folder or ORGANISATION/NAME, instead of the adapter's own checkpoint.
            revision: Commit of `path`.
            layout: Name of another of its prompt templates.
            device: auto, cpu, cuda(:n) or mps.
            dtype: auto (bfloat16 on a GPU, else float32), float32, bfloat16, float16, or float8 (auto, but the
                language model's matrix products in 8-bit floats).
            attention: An implementation that transformers knows: sdpa (packed rows, shared prefixes), or
                flash_attention_2 or eager (padded rows, no shared prefix).
            max_length: Maximum prompt length in tokens, images included.
            min_pixels: Least pixels of an image after resizing.
            max_pixels: Most pixels of an image after resizing.
            batch_tokens: Bound on the tokens of a batch (padded: rows x longest row); 0: chosen for the device.
            share_prefix: Whether a prefix is reused where that saves time.
            cache_mb: Size of the cache of image features, in MiB, on the model's device.
            image_threads: Threads that decode and resize images; 0: this process's share of the cores, at least 2.
            base: Base of a folder with LoRA weights (a folder or ORGANISATION/NAME), instead of the one that
                adapter_config.json names.
            base_revision: Commit of `base`.
            trust_remote_code: Whether code in the checkpoint may be run.

        Raises:
            AdapterError: Something is missing or does not fit.
        """
        given = locals()  # the options, before other names join them
        from mrb.engine.checkpoint import require, resolve_checkpoint

        self.name = find_installed_name(type(self))
        self.layout = self._pick_template(layout)
        self.max_images = self.layout.max_images
        require(self.name, "torch", "transformers")
        wanted = path or self.model
        if wanted is None:
            raise AdapterError(f"{self.name}: name the checkpoint: --set path=FOLDER or ORGANISATION/NAME")
        # Before torch is imported, so that errors show at once.
        folder = resolve_checkpoint(wanted, revision if path else revision or self.revision)
        from mrb.engine.factory import Options, build_engine

        options = Options.select(given, path=folder, revision=None)
        self.engine, weights = build_engine(self, options)
        # Scores of other weights in the same folder must not continue a journal.
        self.version = f"{self.version}+{weights}"

    def _pick_template(self, name: str | None) -> PromptTemplate:
        if name is None and self.prompt is not None:
            return self.prompt
        known = {layout.name: layout for layout in (self.prompt, *self.other_prompts) if layout is not None}
        if name is None or name not in known:
            said = "name the layout" if name is None else f"has no layout {name!r}"
            raise AdapterError(f"{self.name}: {said}: --set layout=... one of {', '.join(sorted(known))}")
        return known[name]

    def score_stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Sequence[float]]]:
        """Yield (request.key, one score per candidate) for each request."""
        return self.engine.score_stream(requests)

    def score(self, request: Request) -> Sequence[float]:
        """Return one score per candidate of a single request."""
        return next(iter(self.engine.score_stream([request])))[1]

    def check_item(self, item: Item) -> None:
        """Refuse a query or document that can never be scored, without decoding its image. See `Engine.check_item`."""
        self.engine.check_item(item)

    def describe(self) -> str:
        """Return the size, dtype and device of the loaded model."""
        return self.engine.backbone.description

    def close(self) -> None:
        """Log how much text was truncated, and close the engine."""
        self.engine.stats.warn_of_cuts(self.name, "prompts", self.engine.prompter.max_length)
        self.engine.close()

    def make_head(self, model: Any, folder: Path, tokenizer: Any) -> Head:
        """Return the head. A subclass that does not read two label rows builds its own."""
        from mrb.engine.head import make_label_head
        from mrb.engine.prompt import resolve_label_ids

        positive, negative = resolve_label_ids(tokenizer, self.layout)
        return make_label_head(model, positive, negative, self.layout.score)
