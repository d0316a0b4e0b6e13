"""Embed items with an embedding model: prompts, token-budget batches, hidden state of the last token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from mrb.data.items import Item
from mrb.engine.backbone import Backbone, make_row
from mrb.engine.batching import is_out_of_memory, make_batches
from mrb.engine.image_features import ImageFeatureExtractor
from mrb.engine.prompt import Prompt, Prompter
from mrb.engine.stats import Stats
from mrb.errors import AdapterError

Float32 = npt.NDArray[np.float32]
_NOTHING = Item()


class Embedder:
    """Computes vectors with one model on one device.

    `batch_tokens` bounds rows x longest row of a batch and is halved whenever memory runs out.
    """

    def __init__(
        self,
        prompter: Prompter,
        backbone: Backbone,
        pictures: ImageFeatureExtractor | None,
        *,
        batch_tokens: int,
        stats: Stats,
    ) -> None:
        self.prompter = prompter
        self.backbone = backbone
        self.pictures = pictures
        self.batch_tokens = batch_tokens
        self.stats = stats

    def vectors(self, instruction: str, items: Sequence[Item]) -> Float32:
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
        waiting = sorted(range(len(prompts)), key=lambda i: -len(prompts[i].ids))
        if self.pictures is not None:
            self.pictures.expect(placed.image for i in waiting for placed in prompts[i].images)
        rows: dict[int, Float32] = {}
        while waiting:
            for batch in make_batches([len(prompts[i].ids) for i in waiting], self.batch_tokens):
                chosen = waiting[: len(batch)]
                try:
                    found = self._batch([prompts[i] for i in chosen])
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    self._halve(chosen, len(prompts[chosen[0]].ids), error)
                    break
                rows.update(zip(chosen, found, strict=True))
                del waiting[: len(batch)]
        return np.stack([rows[i] for i in range(len(prompts))])

    def close(self) -> None:
        """Stop threads and free cached features."""
        if self.pictures is not None:
            self.pictures.close()

    def _batch(self, prompts: Sequence[Prompt]) -> Float32:
        images = [placed.image for prompt in prompts for placed in prompt.images]
        features = self.pictures.features(images) if self.pictures is not None and images else {}
        rows = [make_row(prompt, features) for prompt in prompts]
        started = self.stats.clock()
        hidden = self.backbone.last_hidden(rows, features)
        found: Float32 = torch.nn.functional.normalize(hidden.float(), dim=1).cpu().numpy()
        self.stats.synchronised("prefill", started, self.backbone.device)
        real = sum(len(row.ids) for row in rows)
        self.stats.pairs += len(rows)
        self.stats.batches += 1
        self.stats.tokens += real
        self.stats.padding += len(rows) * max(len(row.ids) for row in rows) - real
        return found

    def _halve(self, chosen: Sequence[int], length: int, error: BaseException) -> None:
        rows = len(chosen)
        if rows == 1:
            told = AdapterError(f"one item of {length} tokens does not fit into memory; lower max_length")
            told.place = (chosen[0],)
            raise told from error
        self.batch_tokens = max(1, rows * length // 2)
        self.stats.halvings += 1
        if self.backbone.device.type == "cuda":
            torch.cuda.empty_cache()
