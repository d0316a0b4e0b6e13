"""`listwise`: a language model that reads a window of documents and writes their order.

Prompt, window and stride are those of LightOn-rerank LW (July 2026, Apache-2.0), as mteb 2.26.24 runs it
(`lighton_rerank_models.py`); Hub ids lightonai/LightOn-rerank-LW-0.8B, -2B (the default) and -4B (`think_block=true`).
A window of texts is written out; a window with a page image is written by the checkpoint's chat template, calls its
entries documents instead of passages, and is never cut. Prompts and answers are tested against numbers of mteb's
wrapper (tests/builders/listwise_port.json). Never run on their real weights here: tested on tiny checkpoints with
random or briefly trained weights, some of the same model class.

A window of documents slides from the bottom of the list to the top, so that good documents rise. An answer that is not
an order leaves its window unchanged; such answers are counted in `stats` and reported at the end.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mrb.baselines._util.lazy_import import check_model_path, import_or_refuse, require_complete_weights
from mrb.baselines._util.training_data import LIGHTON_DATA
from mrb.data.inputs import StatedInputs
from mrb.data.items import Item
from mrb.engine.control import ControlTokens
from mrb.engine.identity import describe_model, hash_loaded_checkpoint
from mrb.engine.prompt_template import QWEN_IMAGE
from mrb.errors import AdapterError, to_one_line
from mrb.hub.client import is_offline
from mrb.hub.retries import describe_failure, find_connection_error
from mrb.rerankers.model_card import ModelCard
from mrb.rerankers.reranker import Request
from mrb.rerankers.training_data import TrainingData

HUB_ID = "lightonai/LightOn-rerank-LW-2B"
REVISION = "4629d733e8381a7d2c8cfba17378ce3ceaf0edd4"
_INSTALL = "pip install 'mrb[models]'"
_INPUTS: StatedInputs = {"query": ("text",), "document": ("text", "image")}
_HEAD = "<|im_start|>user\n"
_TAIL = "<|im_end|>\n<|im_start|>assistant\n"
_THINK = "<think>\n\n</think>\n\n"
_MARK = "mrb-listwise-window"
"""Stands for the user's message while the chat template is rendered."""
_PLACE = re.compile(r"\[(\d{1,4})\]")
_NEXT = re.compile(r"\s*>\s*")


class Listwise:
    """A listwise reranker; greedy decoding, one window at a time.

    Options: `path` (Hub id or folder), `revision`, `device`, `dtype`, `window`, `stride`, `max_length` (tokens of a
    prompt of texts; longer documents are truncated to a common length, and counted), `max_new_tokens`, `think_block`
    (an empty one before the answer).

    Covers text queries. A document is a text, or one page image if the model has a vision tower and a chat template.
    Raises AdapterError if a weight is missing from the checkpoint.
    """

    card = ModelCard(
        "2B",
        checkpoint="lightonai/LightOn-rerank-LW-2B, or `--set path=` another",
        compared_with="the maintainers' port (mteb)",
        extra="models",
        packages=("torch", "transformers"),
        gpu="advised",
        variants={
            "lightonai/LightOn-rerank-LW-0.8B": {"revision": "b6b897c646a9ea980692fb3278ffa04867919b8c"},
            "lightonai/LightOn-rerank-LW-4B": {
                "revision": "92b0661fa69e4820ac3647548a7f8e940b83cd41",
                "think_block": "true",
            },
        },
        trained_on=TrainingData("mteb 2.26.24", LIGHTON_DATA),
    )
    model = HUB_ID
    revision = REVISION
    kind = "listwise"
    inputs = _INPUTS
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
        self._think = think_block
        self._model, self._tokenizer, self._images = _load_model(
            check_model_path("listwise", path), revision, device, dtype
        )
        if self._images is None:
            self.inputs = ("text",)
        self.version = f"{self.version}+{hash_loaded_checkpoint(path, revision)}"
        self._control = ControlTokens(self._tokenizer)
        least = len(self._tokenize_prompt("", [""] * window)) + window
        if max_length < 2 * least:
            raise AdapterError(f"listwise: max_length={max_length} is too short for a window of {window} documents")

    def rank(self, request: Request) -> list[int]:
        """Return positions of the candidates, best first."""
        query, documents = request.query.text, request.candidates
        return slide_window(
            len(documents),
            self.window,
            self.stride,
            lambda shown: self._rank_window(query, [documents[n] for n in shown]),
        )

    def answer(self, query: str, documents: Sequence[str]) -> str:
        """Return the model's raw answer for a window of texts."""
        return self._generate(self._tokenize_prompt(*self._fit(query, documents)), {})

    def answer_pages(self, query: str, documents: Sequence[Item]) -> str:
        """Return the model's raw answer for a window with at least one image.

        Raises AdapterError if a document has both an image and a text.
        """
        pages = [document.images[0].open() for document in documents if document.images]
        shown = self._images(images=pages, return_tensors="pt")
        tokens = (shown["image_grid_thw"].prod(dim=1) // self._images.merge_size**2).tolist()
        ids, kinds = self._tokenize_pages(query, documents, tokens)
        return self._generate(ids, {**shown, "mm_token_type_ids": self._torch.tensor([kinds])})

    def _generate(self, prompt: list[int], images: Mapping[str, Any]) -> str:
        torch = self._torch
        ids = torch.tensor([prompt], device=self._model.device)
        with torch.inference_mode():
            written = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                **{name: value.to(self._model.device) for name, value in images.items()},
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

    def _rank_window(self, query: str, documents: Sequence[Item]) -> list[int]:
        if any(document.images for document in documents):
            answer = self.answer_pages(query, documents)
        else:
            answer = self.answer(query, [document.text for document in documents])
        order = parse_order(answer, len(documents))
        self.stats["windows"] += 1
        self.stats["malformed"] += order is None
        return list(range(len(documents))) if order is None else order

    def _tokenize_prompt(self, query: str, documents: Sequence[str]) -> list[int]:
        """Return the tokens of the prompt.

        Only its frame may hold control tokens: in data they are plain characters.
        """
        head, tail = self._tokenize(_HEAD), self._tokenize(self._tail)
        return [*head, *self._tokenize_data(format_prompt(query, documents)), *tail]

    def _tokenize_pages(
        self, query: str, documents: Sequence[Item], image_tokens: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        """Return the tokens of a prompt with images, and for each whether it is an image's (1) or not (0)."""
        rendered = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": [{"type": "text", "text": _MARK}]}], tokenize=False, add_generation_prompt=True
        )
        head, _, tail = rendered.partition(_MARK)
        if self._think and not tail.endswith(_THINK):
            tail += _THINK
        start, pad, end = self._tokenize(QWEN_IMAGE)
        ids = self._tokenize(head)
        texts = format_pages(query, documents)
        for text, count in zip(texts[:-1], image_tokens, strict=True):
            ids += [*self._tokenize_data(text), start, *[pad] * count, end]
        ids += self._tokenize_data(texts[-1]) + self._tokenize(tail)
        return ids, [int(token == pad) for token in ids]

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _tokenize_data(self, text: str) -> list[int]:
        """Return the tokens of a text that holds a request's texts: control tokens in it are plain characters."""
        if not self._control.found_in(text):
            return self._tokenize(text)
        ((ids, _),) = self._control.tokenise_literally([text])
        return ids

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


def format_pages(query: str, documents: Sequence[Item]) -> list[str]:
    """Return the texts of the user's message that stand before, between and after the images of a window.

    Raises AdapterError for a document with both an image and a text.
    """
    texts = [f"Query: {query}\n\nRank these documents from most to least relevant:\n"]
    for number, document in enumerate(documents, start=1):
        if document.images and document.text:
            raise AdapterError(f"listwise: document {number} of a window has an image and a text; it takes one of them")
        texts[-1] += f"[{number}]: {document.text}"
        if document.images:
            texts.append("")
        texts[-1] += "\n"
    texts[-1] += "\nRanking:"
    return texts


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


def _load_model(path: str, revision: str | None, device: str | None, dtype: str) -> tuple[Any, Any, Any]:
    """Return the model on its device, its tokenizer, and its image processor; None for a model of texts alone."""
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
        images = None
        if seeing and tokenizer.chat_template is not None:
            # On Pillow: torchvision's resizing, where installed, gives other pixels.
            images = transformers.AutoImageProcessor.from_pretrained(path, backend="pil", **hub)
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
    return model.to(device or fastest), tokenizer, images
