"""The base of every pointwise yes/no adapter: a checkpoint, a layout, and the options that a user may set."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrb.data.items import Item
from mrb.data.task import Modality
from mrb.engine.prompt_template import Layout
from mrb.errors import AdapterError
from mrb.rerankers.plugins import name_of
from mrb.rerankers.reranker import Request

if TYPE_CHECKING:
    from mrb.engine.head import Head

_LOG = logging.getLogger("mrb.engine")


class YesNo:
    """A reranker that asks a language model for one of two labels.

    A subclass states its checkpoint and its prompt in class attributes and nothing else:

    - `model`, `revision`: a Hub repository and the commit to load; None where a user must name one;
    - `prompt`: the layout that the model was trained with (None where the user must name one), and `other_prompts`
      that may be named instead;
    - `inputs`: the modalities it takes;
    - `ignored`: weights that its score does not need, as regular expressions: they may be absent, or left over;
    - `head` where it has another one.
    """

    inputs: tuple[Modality, ...] = ("text", "image", "image+text")
    version = "1"
    model: str | None = None
    revision: str | None = None
    prompt: Layout | None = None
    other_prompts: tuple[Layout, ...] = ()
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
        base: str | None = None,
        base_revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Load the model.

        `path`: a local folder or ORGANISATION/NAME, with `revision` (a commit), instead of the adapter's own;
        `layout`: another of its prompts, by name; `device`: auto, cpu, cuda(:n), mps; `dtype`: auto (bfloat16 on a
        GPU, else float32), float32, bfloat16, float16; `attention`: an implementation that transformers knows (sdpa,
        flash_attention_2, eager); `max_length` in tokens, images included; `min_pixels`, `max_pixels` of an image after
        resizing; `batch_tokens`: rows x longest row (0: found for the device); `share_prefix`: reuse of a prefix where
        it pays; `cache_mb`: image features that are kept; `base`, `base_revision`: the model below a folder of LoRA
        weights (a folder, or ORGANISATION/NAME and a commit) instead of the one that adapter_config.json names.
        AdapterError if something is missing or does not fit.
        """
        from mrb.engine.checkpoint import find, require

        self.name = name_of(type(self))
        self.layout = self._chosen(layout)
        require(self.name, "torch", "transformers")
        given = path or self.model
        if given is None:
            raise AdapterError(f"{self.name}: name the checkpoint: --set path=FOLDER or ORGANISATION/NAME")
        # Before torch is imported: what is wrong here is told at once.
        folder = find(given, revision if path else revision or self.revision)
        from mrb.engine.factory import Options, assemble

        options = Options(
            path=folder,
            revision=None,
            device=device,
            dtype=dtype,
            attention=attention,
            max_length=max_length,
            min_pixels=min_pixels,
            max_pixels=max_pixels,
            batch_tokens=batch_tokens,
            share_prefix=share_prefix,
            cache_mb=cache_mb,
            base=base,
            base_revision=base_revision,
            trust_remote_code=trust_remote_code,
        )
        self.engine, weights = assemble(self, options)
        # Scores of other weights in the same folder must not continue a journal.
        self.version = f"{self.version}+{weights}"

    def _chosen(self, name: str | None) -> Layout:
        if name is None and self.prompt is not None:
            return self.prompt
        known = {layout.name: layout for layout in (self.prompt, *self.other_prompts) if layout is not None}
        if name is None or name not in known:
            said = "name the layout" if name is None else f"has no layout {name!r}"
            raise AdapterError(f"{self.name}: {said}: --set layout=... one of {', '.join(sorted(known))}")
        return known[name]

    def score_stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Sequence[float]]]:
        """(request.key, one score per candidate) for each request."""
        return self.engine.score_stream(requests)

    def score(self, request: Request) -> Sequence[float]:
        """One score per candidate of a single request."""
        return next(iter(self.engine.score_stream([request])))[1]

    def check_item(self, item: Item) -> None:
        """Raise what is wrong with a query or a document that no score can be given for; nothing is decoded."""
        self.engine.check_item(item)

    def close(self) -> None:
        """Say what was cut, and let go of the engine."""
        stats = self.engine.stats
        if stats.cut_prompts:
            _LOG.warning(
                "%s: %d of %d prompts lost %d tokens of text to max_length=%d",
                self.name,
                stats.cut_prompts,
                stats.pairs,
                stats.cut_tokens,
                self.engine.prompter.max_length,
            )
        self.engine.close()

    def head(self, model: Any, folder: Path, tokenizer: Any) -> Head:
        """The head; a subclass with another one than two label rows builds its own."""
        from mrb.engine.head import two_rows
        from mrb.engine.prompt import label_ids

        positive, negative = label_ids(tokenizer, self.layout)
        return two_rows(model, positive, negative, self.layout.score)
