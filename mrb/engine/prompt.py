"""Turn a (query, document) pair into the model's token ids. Only text is truncated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mrb.data.items import ImageHandle, Item
from mrb.engine.control import ControlTokens, Tokens
from mrb.engine.prompt_template import PromptTemplate, Rendered, Segment, render
from mrb.errors import AdapterError, MRBError

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PlacedImage:
    """An image in a prompt: its tokens are `ids[start : start + count]`."""

    image: ImageHandle
    start: int
    count: int


@dataclass(frozen=True)
class Prompt:
    """A pair as token ids.

    `ids` is int64[length], an image's placeholder repeated once per token; `shared` is the number of leading tokens
    wholly before the template's seam; `cut` the number of text tokens removed to fit the maximum length; `flat` is the
    template's `flat_positions`; `emptied` says whether all of the document's text was removed.
    """

    ids: Ids
    images: tuple[PlacedImage, ...]
    shared: int
    cut: int
    flat: bool = False
    emptied: bool = False


class Prompter:
    """Builds prompts of one template with one tokenizer.

    `image_tokens(image)` returns the number of tokens of an image, `image_ids(image, image token)` these tokens, or
    None if all are the image token. The tokenizer must be a fast one: its offsets locate the texts.
    """

    def __init__(
        self,
        tokenizer: Any,
        layout: PromptTemplate,
        max_length: int,
        image_tokens: Callable[[ImageHandle], int] | None,
        image_ids: Callable[[ImageHandle, int], Ids | None] | None = None,
    ) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise AdapterError(f"{type(tokenizer).__name__} gives no offsets; MRB needs a tokenizer.json")
        self.tokenizer = tokenizer
        self.layout = layout
        self.max_length = max_length
        self.image_tokens = image_tokens
        self._image_ids = image_ids
        self._ends = _find_ends(tokenizer) if layout.special_tokens else ((), ())
        self._control = ControlTokens(tokenizer)
        self._image_id = _find_image_id(tokenizer, layout) if image_tokens is not None else -1

    def prompts(self, instruction: str, pairs: Sequence[tuple[Item, Item]]) -> list[Prompt]:
        """Return one prompt for each (query, document) pair.

        Raises AdapterError if a pair does not fit even without its texts, DataError for an image that the model cannot
        take; the error's `place` is the pair's number.
        """
        rendered = [
            render(self.layout, instruction, query, document, self._control.found_in) for query, document in pairs
        ]
        segments = [segment for pair in rendered for segment in pair.segments]
        tokens = iter(self._tokenize(segments))
        found: list[Prompt] = []
        for pair in rendered:
            try:
                found.append(self._build_prompt(pair, [next(tokens) for _ in pair.segments]))
            except MRBError as error:
                error.place = (len(found),)
                raise
        return found

    def _tokenize(self, segments: Sequence[Segment]) -> list[Tokens]:
        """Return ids and character offsets of each segment."""
        found: list[Tokens] = [([], [])] * len(segments)
        plain = [i for i, segment in enumerate(segments) if segment.text and not segment.literal]
        if plain:
            batch = self.tokenizer(
                [segments[i].text for i in plain],
                add_special_tokens=False,
                return_offsets_mapping=True,
                return_attention_mask=False,
                verbose=False,
            )
            for i, ids, offsets in zip(plain, batch["input_ids"], batch["offset_mapping"], strict=True):
                found[i] = (ids, offsets)
        literal = [i for i, segment in enumerate(segments) if segment.text and segment.literal]
        if literal:
            made = self._control.tokenise_literally([segments[i].text for i in literal])
            for i, tokens in zip(literal, made, strict=True):
                found[i] = tokens
        return found

    def _build_prompt(self, pair: Rendered, tokens: Sequence[tuple[list[int], list[tuple[int, int]]]]) -> Prompt:
        begin, end = self._ends
        starts = np.cumsum([len(begin), *(len(ids) for ids, _ in tokens)])
        ids = [*begin, *(token for segment, _ in tokens for token in segment), *end]
        if self.layout.final_token is not None:
            ids.append(self.layout.final_token)
        if pair.images and self.image_tokens is None:
            raise AdapterError("this model takes no images")
        counts = [self.image_tokens(image) for image in pair.images] if self.image_tokens else []
        if ids.count(self._image_id) != len(pair.images):
            raise AdapterError(f"{len(pair.images)} images, but {ids.count(self._image_id)} image tokens in the prompt")
        over = len(ids) + sum(counts) - len(counts) - self.max_length
        removed = 0
        # The document is truncated first; the query only if it does not fit by itself.
        dropped: set[int] = set()
        emptied = False
        for place in (pair.document_text, pair.query_text):
            if over > removed and place is not None:
                span = _find_span(tokens[place[0]][1], place[1], place[2]) + int(starts[place[0]])
                last = span[max(0, len(span) - (over - removed)) :]
                dropped.update(last.tolist())
                removed += len(last)
                emptied |= place == pair.document_text and 0 < len(last) == len(span)
        if over > removed:
            raise AdapterError(
                f"a prompt of {self.max_length + over} tokens, {sum(counts)} of them of images, cannot be cut to "
                f"max_length={self.max_length}; raise max_length or lower max_pixels"
            )
        segment, character = pair.seam
        shared = int(starts[segment]) + sum(end <= character for _, end in tokens[segment][1])
        return replace(self._expand_images(ids, pair.images, counts, shared, dropped), emptied=emptied)

    def _expand_images(
        self, ids: list[int], images: Sequence[ImageHandle], counts: Sequence[int], shared: int, dropped: set[int]
    ) -> Prompt:
        """Repeat each image's placeholder to its token count, and remove the dropped tokens."""
        array = np.asarray(ids, np.int64)
        repeats = np.ones(len(ids), np.int64)
        repeats[sorted(dropped)] = 0
        at = np.flatnonzero(array == self._image_id) if counts else np.empty(0, np.int64)
        repeats[at] = counts
        ends = np.cumsum(repeats)
        placed = tuple(
            PlacedImage(image, int(ends[position]) - count, count)
            for image, position, count in zip(images, at, counts, strict=True)
        )
        before = int(ends[shared - 1]) if shared else 0
        whole = np.repeat(array, repeats)
        if self._image_ids is not None:
            for one in placed:
                own = self._image_ids(one.image, self._image_id)
                if own is not None:
                    whole[one.start : one.start + one.count] = own
        return Prompt(whole, placed, before, len(dropped), self.layout.flat_positions)


def _find_span(offsets: Sequence[tuple[int, int]], start: int, end: int) -> Ids:
    """Return the positions of the tokens that lie wholly within characters start..end."""
    if not offsets:
        return np.empty(0, np.int64)
    bounds = np.asarray(offsets, np.int64)
    return np.flatnonzero((bounds[:, 0] >= start) & (bounds[:, 1] <= end) & (bounds[:, 1] > bounds[:, 0]))


def _find_ends(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids that the tokenizer itself sets before and after a text."""
    plain, whole = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (False, True))
    places = [n for n in range(len(whole) - len(plain) + 1) if whole[n : n + len(plain)] == plain]
    if len(places) != 1:
        raise AdapterError(f"{type(tokenizer).__name__} changes a text where it adds its special tokens")
    return tuple(whole[: places[0]]), tuple(whole[places[0] + len(plain) :])


def _find_image_id(tokenizer: Any, layout: PromptTemplate) -> int:
    """Return the id of the token in the template's image marker that is repeated for each image token."""
    ids = tokenizer(layout.image, add_special_tokens=False)["input_ids"]
    pads = [i for i in ids if tokenizer.convert_ids_to_tokens(i) == layout.image_pad]
    if len(pads) != 1:
        raise AdapterError(f"layout {layout.name}: {layout.image!r} holds no single image token of this tokenizer")
    return int(pads[0])


def resolve_label_ids(tokenizer: Any, layout: PromptTemplate) -> tuple[int, int | None]:
    """Return the token ids of the template's labels. Raises AdapterError if one is not a single known token."""
    found: list[int | None] = []
    for label in layout.labels:
        if label is None:
            found.append(None)
            continue
        ids = tokenizer(label, add_special_tokens=False)["input_ids"]
        if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
            raise AdapterError(f"layout {layout.name}: {label!r} is not one token of this tokenizer but {len(ids)}")
        found.append(int(ids[0]))
    positive, negative = found
    assert positive is not None  # only the second label may be None
    if positive == negative:
        raise AdapterError(f"layout {layout.name}: both labels are the token {positive}")
    return positive, negative
