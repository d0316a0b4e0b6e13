"""`bi-encoder`: any embedding model that sentence-transformers loads as a SentenceTransformer, as a reranker.

Query and document are embedded separately and compared by the model's own similarity function. Source of the interface:
sentence-transformers 6.2 (Apache-2.0), sbert.net/docs/sentence_transformer. Licence of the weights: each model's own.
Tested here on all-MiniLM-L6-v2 and on tiny checkpoints of random weights; never run on other published weights here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NoReturn, Self

from mrb.baselines._util.sentence_models import (
    borrow_model,
    import_sentence_transformers,
    load_sentence_model,
    make_typed_input,
    read_special_tokens_as_text,
)
from mrb.data.items import Item
from mrb.data.task import Modality
from mrb.engine.identity import describe_model, hash_loaded_checkpoint
from mrb.engine.vector_reranker import Key, VectorReranker
from mrb.errors import AdapterError
from mrb.rerankers.model_card import ModelCard
from mrb.rerankers.reranker import Request

ROWS = 32
"""Default number of inputs per batch, that of sentence-transformers."""
_INSTRUCTION = "{instruction}"


class BiEncoder(VectorReranker):
    """Scores are the similarity (as a rule the cosine) of the embeddings of query and document.

    Options: `path` (Hub id or folder), `revision`, `device` (default: the fastest available), `dtype`, `max_length`
    (tokens of an input; default: the model's own), `batch_size`, `query_prompt` and `document_prompt` (default: the
    model's own; `{instruction}` in them is the task's instruction), `trust_remote_code` (off).

    Covers the modalities that the model states. Each distinct query and document is embedded once while it is among the
    last 128 MiB of embeddings used. Raises AdapterError for a folder that states no pooling (no modules.json), or if a
    weight is missing from the checkpoint and would be random.
    """

    card = ModelCard(
        licence="its own",
        checkpoint="any embedding model of sentence-transformers",
        takes="what it takes",
        run_here="never but all-MiniLM-L6-v2",
        compared_with="sentence-transformers itself",
        extra="cross-encoder",
        packages=("torch", "transformers", "sentence_transformers"),
    )
    name = "bi-encoder"
    version = "1"

    def __init__(
        self,
        path: str,
        revision: str | None = None,
        device: str | None = None,
        dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32",
        max_length: int | None = None,
        batch_size: int = ROWS,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        library = import_sentence_transformers(self.name)
        model = load_sentence_model(
            self.name,
            _refuse_defaults(library.SentenceTransformer),
            path,
            revision=revision,
            device=device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
        )
        if max_length is not None:
            model.max_seq_length = max_length
        read_special_tokens_as_text(model)
        self._take(model, path, batch_size, query_prompt, document_prompt)
        self.version = f"{self.version}+{hash_loaded_checkpoint(path, revision)}"

    @classmethod
    def from_model(
        cls,
        model: Any,
        batch_size: int = ROWS,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
    ) -> Self:
        """Return a reranker of a live SentenceTransformer, which is used as it is and left as it was.

        Args:
            model: The model. Its weights must not change while a run lasts: embeddings are kept.
            batch_size: Inputs per batch.
            query_prompt: Prompt of queries; None is the model's own.
            document_prompt: Prompt of documents; None is the model's own.

        Raises:
            AdapterError: The model takes neither texts nor images.
        """
        made = cls.__new__(cls)
        made._take(model, type(model).__name__, batch_size, query_prompt, document_prompt)
        made._lend = lambda: borrow_model(model)
        return made

    def _take(
        self, model: Any, path: str, batch_size: int, query_prompt: str | None, document_prompt: str | None
    ) -> None:
        if batch_size < 1:
            raise AdapterError(f"{self.name}: batch_size is {batch_size}, wanted a whole number from 1")
        self._model = model
        self.inputs = _read_inputs(self.name, path, model)
        self._batch_size = batch_size
        self._prompts = {"query": query_prompt, "document": document_prompt}
        self._lend: Any = nullcontext

    def describe(self) -> str:
        """Return the size, dtype and device of the loaded model."""
        return describe_model(self._model)

    def close(self) -> None:
        """Free the model's memory."""
        self._model = None
        self.forget_vectors()

    def make_key(self, side: str, request: Request, item: Item) -> Key:
        """Return what the embedding of an item depends on: its prompt, in which the task's instruction may be."""
        prompt = self._prompts[side] or ""
        return side, prompt.replace(_INSTRUCTION, request.instruction), item.content_hash

    def compare_vectors(self, query: Any, documents: Sequence[Any]) -> list[float]:
        """Return the similarity of the query to each document."""
        from torch import stack

        scores: list[float] = self._model.similarity(query[None], stack(list(documents)))[0].tolist()
        return scores

    def compute_vectors(self, items: Mapping[Key, Item]) -> Iterator[tuple[Key, Any]]:
        """Yield (key, embedding) of each item, a float32 tensor on the CPU."""
        alike: dict[tuple[str, str, str], list[Key]] = {}
        for key in items:
            alike.setdefault((key[0], key[1], _get_modality(items[key])), []).append(key)
        lent: AbstractContextManager[None] = self._lend()
        with lent:
            for (side, prompt, modality), keys in alike.items():
                # Images are decoded a batch at a time; texts in one call, which sorts them by length.
                step = len(keys) if modality == "text" else self._batch_size
                for start in range(0, len(keys), step):
                    part = keys[start : start + step]
                    yield from zip(part, self._encode(side, prompt, [items[key] for key in part]), strict=True)

    def _encode(self, side: str, prompt: str, items: list[Item]) -> list[Any]:
        """Return one embedding per item. All items are of one modality, as some models take no others in a batch."""
        encode = self._model.encode_query if side == "query" else self._model.encode_document
        vectors = encode(
            [self._make_input(item) for item in items],
            prompt=None if self._prompts[side] is None else prompt,
            batch_size=self._batch_size,
            show_progress_bar=False,
            convert_to_tensor=True,
        )
        return [row.clone() for row in vectors.float().cpu()]  # a view would keep the whole batch alive

    def _make_input(self, item: Item) -> str | dict[str, Any]:
        return item.text if self.inputs == ("text",) else make_typed_input(item)


def _get_modality(item: Item) -> Modality:
    if item.image is None:
        return "text"
    return "image+text" if item.text else "image"


def _read_inputs(name: str, path: str, model: Any) -> tuple[Modality, ...]:
    stated: dict[Modality, bool] = {
        "text": model.supports("text"),
        "image": model.supports("image"),
        "image+text": model.supports(("image", "text")),
    }
    inputs = tuple(modality for modality, taken in stated.items() if taken)
    if not inputs:
        raise AdapterError(
            f"{name}: {path} takes neither texts nor images; it takes {', '.join(map(str, model.modalities))}"
        )
    return inputs


def _refuse_defaults(kind: type[Any]) -> type[Any]:
    """Return the class, changed to refuse a checkpoint for which the library would choose a pooling by itself."""

    class SentenceTransformer(kind):  # type: ignore[misc]
        def _load_default_modules(self, model_name_or_path: str, *args: Any, **options: Any) -> NoReturn:
            raise ValueError(
                "no modules.json of a SentenceTransformer in it, so how its embeddings are pooled is not known"
            )

    return SentenceTransformer
