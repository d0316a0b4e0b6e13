"""`listwise`: a language model that reads a window of documents and writes their order.

Prompt, window and stride are those of LightOn-rerank LW (July 2026, Apache-2.0), as mteb runs it
(embeddings-benchmark/mteb@27f1337, `lighton_rerank_models.py`); Hub ids lightonai/LightOn-rerank-LW-0.8B, -2B (the
default) and -4B (`think_block=true`). Never run on their real weights here: tested on tiny checkpoints with random or
briefly trained weights, some of the same model class.

A window of documents slides from the bottom of the list to the top, so that good documents rise. An answer that is not
an order leaves its window unchanged; such answers are counted in `stats` and reported at the end.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from mrb.baselines._util.lazy_import import check_model_path, import_or_refuse, require_complete_weights
from mrb.baselines._util.training_data import LIGHTON_DATA
from mrb.engine.control import ControlTokens
from mrb.engine.identity import describe_model, hash_loaded_checkpoint
from mrb.errors import AdapterError, to_one_line
from mrb.hub.client import describe_failure, find_connection_error, is_offline
from mrb.rerankers.model_card import ModelCard
from mrb.rerankers.reranker import Request
from mrb.rerankers.training_data import TrainingData

HUB_ID = "lightonai/LightOn-rerank-LW-2B"
REVISION = "4629d733e8381a7d2c8cfba17378ce3ceaf0edd4"
_INSTALL = "pip install 'mrb[models]'"
_HEAD = "<|im_start|>user\n"
_TAIL = "<|im_end|>\n<|im_start|>assistant\n"
_THINK = "<think>\n\n</think>\n\n"
_PLACE = re.compile(r"\[(\d{1,4})\]")
_NEXT = re.compile(r"\s*>\s*")


class Listwise:
    """A listwise reranker of texts; greedy decoding, one window at a time.

    Options: `path` (Hub id or folder), `revision`, `device`, `dtype`, `window`, `stride`, `max_length` (tokens of a
    prompt; longer documents are truncated to a common length, and counted), `max_new_tokens`, `think_block` (an empty
    one before the answer).

    Covers text. Raises AdapterError if a weight is missing from the checkpoint.
    """

    card = ModelCard(
        "2B",
        checkpoint="lightonai/LightOn-rerank-LW-2B, or `--set path=` another",
        compared_with="our own reading",
        extra="models",
        packages=("torch", "transformers"),
        gpu="advised",
        variants={"lightonai/LightOn-rerank-LW-0.8B": {}, "lightonai/LightOn-rerank-LW-4B": {"think_block": "true"}},
        trained_on=TrainingData("mteb 2.26.24", LIGHTON_DATA),
    )
    model = HUB_ID
    revision = REVISION
    kind = "listwise"
    inputs = ("text",)
    version = "1"

    def __init__(
        self,
        path: str = HUB_ID,
        revision: str | None = None,
        device: str | None = None,
        dtype: Literal["float32", "bfloat16", "float16", "auto"] = "auto",
        window: int = 4,
        stride: int = 2,
        max_length: int = 2048,
        max_new_tokens: int = 30,
        think_block: bool = False,
    ) -> None:
        if not 1 <= stride < window:
            raise AdapterError(f"listwise: window={window}, stride={stride}: the stride must be from 1 to window - 1")
        self.window = window
        self.stride = stride
        self.max_length = max_length
        self.max_new_tokens = max_new_tokens
        self._torch = import_or_refuse("listwise", "torch", _INSTALL)
        self._tail = _TAIL + (_THINK if think_block else "")
        self.stats = {"windows": 0, "malformed": 0, "documents cut": 0}
        revision = REVISION if path == HUB_ID and revision is None else revision
        self._model, self._tokenizer = _load_model(check_model_path("listwise", path), revision, device, dtype)
        self.version = f"{self.version}+{hash_loaded_checkpoint(path, revision)}"
        self._control = ControlTokens(self._tokenizer)
        least = len(self._tokenize_prompt("", [""] * window)) + window
        if max_length < 2 * least:
            raise AdapterError(f"listwise: max_length={max_length} is too short for a window of {window} documents")

    def rank(self, request: Request) -> list[int]:
        """Return positions of the candidates, best first."""
        query, texts = request.query.text, [candidate.text for candidate in request.candidates]
        return slide_window(
            len(texts), self.window, self.stride, lambda shown: self._rank_window(query, [texts[n] for n in shown])
        )

    def answer(self, query: str, documents: Sequence[str]) -> str:
        """Return the model's raw answer for a window."""
        torch = self._torch
        ids = torch.tensor([self._tokenize_prompt(*self._fit(query, documents))], device=self._model.device)
        with torch.inference_mode():
            written = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                num_beams=1,
                pad_token_id=self._tokenizer.pad_token_id or 0,
            )
        return str(self._tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True))

    def describe(self) -> str:
        """Return the size, dtype and device of the loaded model."""
        return describe_model(self._model)

    def close(self) -> None:
        """Report the counters, and free the model's memory."""
        if self.stats["windows"]:
            counted = ", ".join(f"{count} {name}" for name, count in self.stats.items())
            sys.stderr.write(f"listwise: {counted}; a malformed answer leaves its window in the order it had\n")
        self._model = None

    def _rank_window(self, query: str, documents: Sequence[str]) -> list[int]:
        order = parse_order(self.answer(query, documents), len(documents))
        self.stats["windows"] += 1
        self.stats["malformed"] += order is None
        return list(range(len(documents))) if order is None else order

    def _tokenize_prompt(self, query: str, documents: Sequence[str]) -> list[int]:
        """Return the tokens of the prompt.

        Only its frame may hold control tokens: in data they are plain characters.
        """
        head, tail = (self._tokenizer(part, add_special_tokens=False)["input_ids"] for part in (_HEAD, self._tail))
        asked = format_prompt(query, documents)
        if self._control.found_in(asked):
            ((ids, _),) = self._control.tokenise_literally([asked])
        else:
            ids = self._tokenizer(asked, add_special_tokens=False)["input_ids"]
        return [*head, *ids, *tail]

    def _fit(self, query: str, documents: Sequence[str]) -> tuple[str, list[str]]:
        """Return query and documents truncated to fit `max_length` prompt tokens; the query takes at most half."""
        query, _ = self._cut_text(query, self.max_length // 2)
        room = self.max_length - len(self._tokenize_prompt(query, [""] * len(documents)))
        lengths = [len(self._tokenizer(text, add_special_tokens=False)["input_ids"]) for text in documents]
        limit = find_fair_limit(lengths, room)
        cut = [self._cut_text(text, limit) for text in documents]
        self.stats["documents cut"] += sum(shorter for _, shorter in cut)
        return query, [text for text, _ in cut]

    def _cut_text(self, text: str, tokens: int) -> tuple[str, bool]:
        """Return the text's first `tokens` tokens, and whether text was removed."""
        found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return (text[: found[tokens - 1][1]], True) if len(found) > tokens else (text, False)


def format_prompt(query: str, documents: Sequence[str]) -> str:
    """Return the user's message; documents are numbered from 1."""
    body = "\n".join(f"[{number}]: {text}" for number, text in enumerate(documents, start=1))
    return f"Query: {query}\n\nRank these passages from most to least relevant:\n{body}\n\nRanking:"


def parse_order(answer: str, count: int) -> list[int] | None:
    """Parse the first `[2] > [1] > ...` with `count` entries in `answer`.

    Returns positions from 0, best first; None if there is none, or if it is not a permutation.
    """
    for first in _PLACE.finditer(answer):
        places = [int(first[1]) - 1]
        end = first.end()
        while (
            len(places) < count and (arrow := _NEXT.match(answer, end)) and (place := _PLACE.match(answer, arrow.end()))
        ):
            places.append(int(place[1]) - 1)
            end = place.end()
        if len(places) == count:
            return places if sorted(places) == list(range(count)) else None
    return None


def slide_window(count: int, window: int, stride: int, order_of: Callable[[list[int]], list[int]]) -> list[int]:
    """Slide a window once from the bottom of a list to its top; return the `count` positions, best first.

    `order_of` receives the positions in a window, and returns their order as indices within the window.
    """
    order = list(range(count))
    start = max(0, count - window)
    while count > 1:
        shown = order[start : start + window]
        order[start : start + window] = [shown[place] for place in order_of(shown)]
        if start == 0:
            break
        start = max(0, start - stride)
    return order


def find_fair_limit(lengths: Sequence[int], room: int) -> int:
    """Return the largest limit such that the lengths, each cut to the limit, fit into `room`; at least 1."""
    left = room
    for place, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - place)
        if length > share:
            return max(1, share)
        left -= length
    return max(1, *lengths)


def _load_model(path: str, revision: str | None, device: str | None, dtype: str) -> tuple[Any, Any]:
    """Return the model on its device, and its tokenizer."""
    transformers = import_or_refuse("listwise", "transformers", _INSTALL)
    classes = import_or_refuse("listwise", "transformers.models.auto.modeling_auto", _INSTALL)
    # Without a connection the client would retry for a minute before it takes what is cached.
    unreached = None if is_offline() or Path(path).is_dir() else find_connection_error()
    hub = {"revision": revision, "local_files_only": is_offline() or unreached is not None}
    try:
        config = transformers.AutoConfig.from_pretrained(path, **hub)
        seeing = config.model_type in classes.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        auto = transformers.AutoModelForImageTextToText if seeing else transformers.AutoModelForCausalLM
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, **hub)
        with require_complete_weights("listwise", path):
            model = auto.from_pretrained(path, dtype=dtype, **hub).eval()
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        said = to_one_line(error, 200) if unreached is None else describe_failure(unreached)
        raise AdapterError(f"listwise: {path} cannot be loaded: {said}") from error
    if not tokenizer.is_fast:
        raise AdapterError(
            f"listwise: {path}: needs a tokenizer that reports the position of each token (tokenizer.json)"
        )
    fastest = "cuda" if import_or_refuse("listwise", "torch", _INSTALL).cuda.is_available() else "cpu"
    return model.to(device or fastest), tokenizer
