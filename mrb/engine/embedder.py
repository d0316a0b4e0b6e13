"""Embed items with an embedding model: prompts, token-budget batches, hidden state of the last token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from mrb.data.items import Item
from mrb.engine.backbone import Backbone, make_row
from mrb.engine.batching import BatchRunner
from mrb.engine.image_features import ImageFeatureExtractor
from mrb.engine.prompt import Prompt, Prompter
from mrb.engine.stats import Stats

Float32 = npt.NDArray[np.float32]
_NOTHING = Item()


class Embedder(BatchRunner):
    """Computes vectors with one model on one device."""

    unit = "item"

    def __init__(
        self,
        prompter: Prompter,
        backbone: Backbone,
        extractor: ImageFeatureExtractor | None,
        *,
        batch_tokens: int,
        stats: Stats,
    ) -> None:
        super().__init__(backbone, batch_tokens, stats)
        self.prompter = prompter
        self.extractor = extractor

    def embed(self, instruction: str, items: Sequence[Item]) -> Float32:
        """Return float32 (n, hidden): per item the normalised last hidden state of the prompt's last token.

        The template has a query side only. A row does not depend on the other items, except for rounding. Raises
        AdapterError, or DataError for an image, if an item cannot be encoded; its `place` is the item's number.
        """
        started = self.stats.clock()
        prompts = self.prompter.prompts(instruction, [(item, _NOTHING) for item in items])
        self.stats.add("tokenise", self.stats.clock() - started)
        self.stats.cut_prompts += sum(bool(prompt.cut) for prompt in prompts)
        self.stats.cut_tokens += sum(prompt.cut for prompt in prompts)
        # Longest first, like `make_batches`: an out-of-memory error then shows at once.
        ordered = sorted(range(len(prompts)), key=lambda i: -len(prompts[i].ids))
        if self.extractor is not None:
            self.extractor.expect(placed.image for i in ordered for placed in prompts[i].images)
        rows: dict[int, Float32] = {}
        for chosen, vectors in self.run_batches(
            ordered,
            lambda i: len(prompts[i].ids),
            lambda i: (i,),
            lambda chosen: self._embed_batch([prompts[i] for i in chosen]),
        ):
            rows.update(zip(chosen, vectors, strict=True))
        return np.stack([rows[i] for i in range(len(prompts))])

    def close(self) -> None:
        """Stop threads and free cached features."""
        if self.extractor is not None:
            self.extractor.close()

    def _embed_batch(self, prompts: Sequence[Prompt]) -> Float32:
        images = [placed.image for prompt in prompts for placed in prompt.images]
        features = self.extractor.features(images) if self.extractor is not None and images else {}
        rows = [make_row(prompt, features) for prompt in prompts]
        started = self.stats.clock()
        hidden = self.backbone.pool_hidden(rows, features)
        found: Float32 = torch.nn.functional.normalize(hidden.float(), dim=1).cpu().numpy()
        self.stats.synchronised("prefill", started, self.backbone.device)
        lengths = [len(row.ids) for row in rows]
        self.stats.count_batch(lengths, len(rows), self.backbone.count_computed(lengths))
        return found
