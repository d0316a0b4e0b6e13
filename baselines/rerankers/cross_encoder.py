"""`cross-encoder`: any reranker that sentence-transformers loads as a CrossEncoder, from the Hub or a folder.

Source of the interface: sentence-transformers 6.2 (Apache-2.0), sbert.net/docs/cross_encoder. Licence of the weights:
each model's own. Tested here on tiny checkpoints of random weights; never run on published weights here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import groupby
from typing import Any, Literal, Self

from mrb.baselines._util.lazy_import import import_or_refuse
from mrb.baselines._util.pair_inputs import derive_pair_inputs, list_refusals, narrow_inputs, takes_parts
from mrb.baselines._util.request_groups import group_requests
from mrb.baselines._util.sentence_models import (
    INSTALL,
    borrow_model,
    import_sentence_transformers,
    load_sentence_model,
    make_typed_input,
    read_special_tokens_as_text,
    takes_image_lists,
)
from mrb.data.inputs import StatedInputs
from mrb.data.items import Item
from mrb.engine.batching import CPU_TOKENS, make_batches
from mrb.engine.identity import describe_model, hash_loaded_checkpoint
from mrb.errors import AdapterError
from mrb.rerankers.declaration import parse_inputs
from mrb.rerankers.model_card import ModelCard
from mrb.rerankers.reranker import Request

logger = logging.getLogger(__name__)

_ROWS = 32
"""Default rows per batch on other devices than a CPU."""
_BYTES_PER_TOKEN = 4
_PIXELS_PER_TOKEN = 28 * 28
"""Rough size of a token, used only to batch pairs of similar length if there are images."""


class CrossEncoder:
    """Scores are the model's raw logits, without the sigmoid, which would tie scores far from 0.5.

    Options: `path` (Hub id or folder), `revision`, `device` (default: the fastest available), `dtype`, `max_length`
    (tokens of a pair, truncated by the tokenizer; default: the model's own), `batch_size` (0: on a CPU about 512
    tokens, elsewhere 32 rows), `instruction` (pass the task's instruction as the model's prompt; off: the model's own
    prompt), `inputs` (a list, or an object with the lists `query` and `document`: less than what the model takes),
    `trust_remote_code` (off).

    Covers text, and on each side image and image+text if the model's modalities include them and its chat template
    renders them there; the log says what it refuses and why. Raises AdapterError if the model gives
    more than one score per pair, or if a weight is missing from the checkpoint and would be random.
    """

    card = ModelCard(
        licence="its own",
        checkpoint="any of sentence-transformers",
        takes="what it takes",
        run_here="-",
        compared_with="sentence-transformers itself",
        extra="cross-encoder",
        packages=("torch", "transformers", "sentence_transformers"),
    )
    kind = "pointwise"
    inputs: StatedInputs
    max_images: int | None
    version = "2"
    name = "cross-encoder"

    def __init__(
        self,
        path: str,
        revision: str | None = None,
        device: str | None = None,
        dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32",
        max_length: int | None = None,
        batch_size: int = 0,
        instruction: bool = False,
        inputs: StatedInputs | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        _check_batch_size(self.name, batch_size)
        model = load_sentence_model(
            self.name,
            import_sentence_transformers(self.name).CrossEncoder,
            path,
            revision=revision,
            device=device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            options={"max_length": max_length},
        )
        self._take(model, path, batch_size, instruction, inputs)
        _set_padding(self.name, path, model)
        read_special_tokens_as_text(model)
        self.version = f"{self.version}+{hash_loaded_checkpoint(path, revision)}"

    @classmethod
    def from_model(
        cls, model: Any, batch_size: int = 0, instruction: bool = False, inputs: StatedInputs | None = None
    ) -> Self:
        """Return a reranker of a live CrossEncoder, which is used as it is and left as it was.

        Args:
            model: The model.
            batch_size: Rows per batch; 0: on a CPU about 512 tokens, elsewhere 32 rows.
            instruction: Pass the task's instruction as the model's prompt.
            inputs: What of it is scored, if that is less than what the model takes.

        Raises:
            AdapterError: The model takes no text or not these inputs, or gives more than one score per pair.
        """
        _check_batch_size(cls.name, batch_size)
        made = cls.__new__(cls)
        made._take(model, type(model).__name__, batch_size, instruction, inputs)
        made._lend = lambda: _borrow_padded(cls.name, model)
        return made

    def _take(self, model: Any, path: str, batch_size: int, instruction: bool, inputs: StatedInputs | None) -> None:
        _check_head(self.name, path, model)
        self._model = model
        found = derive_pair_inputs(self.name, path, model)
        for line in list_refusals(found):
            logger.info(f"{self.name}: {path}: {line}")
        taken = found.inputs
        if inputs is not None:
            taken = narrow_inputs(self.name, path, found, parse_inputs(self.name, inputs))
        self.inputs: StatedInputs = {"query": taken.query, "document": taken.document}
        self._as_parts = takes_parts(model)
        self.max_images = found.max_images if takes_image_lists() else 1
        self._batch_size = batch_size or (0 if model.device.type == "cpu" else _ROWS)
        self._instruction = instruction
        self._raw = import_or_refuse(self.name, "torch", INSTALL).nn.Identity()
        self._lend: Callable[[], AbstractContextManager[None]] = nullcontext

    def score_stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Sequence[float]]]:
        """Yield (key, logits) of each request. Pairs of several requests share a batch, longest first."""
        with self._lend():
            for group in group_requests(requests):
                yield from self._score_requests(group)

    def describe(self) -> str:
        """Return the size, dtype and device of the loaded model."""
        return describe_model(self._model)

    def close(self) -> None:
        """Free the model's memory."""
        self._model = None

    def _score_requests(self, requests: list[Request]) -> Iterator[tuple[int, Sequence[float]]]:
        pairs = [(request, place) for request in requests for place in range(len(request.candidates))]
        found: dict[int, list[float]] = {request.key: [0.0] * len(request.candidates) for request in requests}
        # One instruction per call: the library takes one prompt for all pairs of a call.
        pairs.sort(key=lambda pair: pair[0].instruction)
        for instruction, same in groupby(pairs, key=lambda pair: pair[0].instruction):
            alike = list(same)
            items = [(request.query, request.candidates[place]) for request, place in alike]
            for (request, place), score in zip(alike, self._score_pairs(items, instruction), strict=True):
                found[request.key][place] = score
        yield from found.items()

    def _score_pairs(self, pairs: list[tuple[Item, Item]], instruction: str) -> list[float]:
        """Return one logit per pair.

        With a fixed batch size the library batches one large call, which pipelines batches on a GPU. Batches by a CPU's
        token budget are made here, with one call each.
        """
        if self._batch_size:
            return self._predict(pairs, instruction, self._batch_size)
        found = [0.0] * len(pairs)
        for batch in make_batches(self._estimate_lengths(pairs), CPU_TOKENS):
            for i, score in zip(batch, self._predict([pairs[i] for i in batch], instruction, len(batch)), strict=True):
                found[i] = score
        return found

    def _estimate_lengths(self, pairs: list[tuple[Item, Item]]) -> list[int]:
        """Return the tokens of each pair: by the model's tokenizer if a pair is two plain texts, else roughly."""
        if self._as_parts or not pairs:
            return [_estimate_tokens(query, candidate) for query, candidate in pairs]
        sides = ([item.text for item in side] for side in zip(*pairs, strict=True))
        longest = self._model.max_seq_length  # None: the model takes any length
        rows = self._model.tokenizer(*sides, verbose=False)["input_ids"]
        return [min(len(row), longest or len(row)) for row in rows]

    def _predict(self, pairs: list[tuple[Item, Item]], instruction: str, rows: int) -> list[float]:
        scores = self._model.predict(
            [tuple(self._make_side(item) for item in pair) for pair in pairs],
            prompt=instruction if self._instruction else None,
            batch_size=rows,
            show_progress_bar=False,
            activation_fn=self._raw,
        )
        return [float(score) for score in scores]

    def _make_side(self, item: Item) -> str | dict[str, Any]:
        return make_typed_input(item) if self._as_parts else item.text


def _estimate_tokens(query: Item, candidate: Item) -> int:
    """Return the approximate number of tokens."""
    letters = sum(len(item.text.encode()) for item in (query, candidate))
    pictures = [image.size for item in (query, candidate) for image in item.images]
    return 1 + letters // _BYTES_PER_TOKEN + sum(width * height for width, height in pictures) // _PIXELS_PER_TOKEN


def _check_batch_size(name: str, batch_size: int) -> None:
    if batch_size < 0:
        raise AdapterError(f"{name}: batch_size is {batch_size}, wanted a whole number from 0")


def _check_head(name: str, path: str, model: Any) -> None:
    if model.num_labels != 1:
        raise AdapterError(f"{name}: {path} gives {model.num_labels} scores a pair; a reranker gives one")
    for module in model:
        if hasattr(module, "true_token_id") and module.true_token_id == module.false_token_id:
            raise AdapterError(f"{name}: {path}: its tokenizer has no two tokens for yes and no; all scores would be 0")


def _set_padding(name: str, path: str, model: Any) -> None:
    """Set the model's `pad_token_id` to the tokenizer's if the configuration has none.

    A decoder with a classification head locates a row's last token by it. Raises AdapterError if the tokenizer has
    none, or if the two differ.
    """
    padding = model.tokenizer.pad_token_id
    if padding is None:
        raise AdapterError(f"{name}: {path}: its tokenizer has no pad_token, which a batch of two rows needs")
    config = _find_padded_config(name, model)
    if config is None:
        return
    if config.pad_token_id is None:
        config.pad_token_id = padding
    elif config.pad_token_id != padding:
        raise AdapterError(
            f"{name}: {path}: config.json's pad_token_id is {config.pad_token_id}, the tokenizer pads with {padding}: "
            "the score of a padded row would be read at the wrong token"
        )


def _find_padded_config(name: str, model: Any) -> Any:
    """Return the configuration of a decoder with a classification head, None for another model."""
    network = getattr(model[0], "model", None)
    library = import_or_refuse(name, "transformers.modeling_layers", INSTALL)
    if not isinstance(network, library.GenericForSequenceClassification):
        return None
    return network.config.get_text_config()


@contextmanager
def _borrow_padded(name: str, model: Any) -> Iterator[None]:
    """Lend a user's live model with its padding set; afterwards it is as it was."""
    config = _find_padded_config(name, model)
    own = getattr(config, "pad_token_id", None)
    try:
        _set_padding(name, type(model).__name__, model)
        with borrow_model(model):
            yield
    finally:
        if config is not None:
            config.pad_token_id = own
