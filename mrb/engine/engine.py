"""Score many requests with one model: prompts, shared prefixes, token-budget batches, scores.

A pointwise yes/no score is one prefill and one or two rows of the head. Shared work is done once: the prefix of a
query's candidates where that saves enough, and the features of an image wherever it occurs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from mrb.data.items import ImageHandle, Item
from mrb.engine.backbone import Backbone, make_row
from mrb.engine.batching import BatchRunner
from mrb.engine.head import Head
from mrb.engine.image_features import ImageFeatureExtractor
from mrb.engine.packed_attention import Prefix
from mrb.engine.prefetch import prefetch
from mrb.engine.prompt import Prompt, Prompter
from mrb.engine.prompt_template import LEAST_SAVED
from mrb.engine.stats import Stats
from mrb.engine.vision import Features
from mrb.errors import AdapterError, MRBError
from mrb.rerankers.reranker import Request

WINDOW = 8
"""Requests batched together by templates with the query first: each shares its own prefix."""
DOCUMENT_WINDOW = 64
"""The same for templates with the document first: its prefix is shared by the queries that list the document."""

Answer = tuple[int, list[float]]
T = TypeVar("T")


@dataclass(frozen=True)
class Pair:
    """A prompt to score, and the places (request in window, candidate) of its score; several for equal candidates."""

    prompt: Prompt
    places: list[tuple[int, int]]

    @cached_property
    def order(self) -> tuple[int, bytes, tuple[str, ...]]:
        """Sort key within a batch: longest first, ties by content, so that the input order does not matter."""
        return -len(self.prompt.ids), self.prompt.ids.tobytes(), tuple(p.image.content_hash for p in self.prompt.images)


@dataclass(frozen=True)
class Window:
    """Requests that are scored together: the pairs to run whole, and the groups of pairs that share a prefix."""

    requests: Sequence[Request]
    single: list[Pair]
    shared: list[list[Pair]]


@dataclass(frozen=True)
class SharedPrefix:
    """The common prefix of a group's pairs: number of tokens, their keys and values, features of their images."""

    tokens: int
    prefix: Prefix
    features: dict[str, Features]


class Engine(BatchRunner):
    """Scores requests with one model on one device.

    `share` allows sharing a prefix where the cost rule (`LEAST_SAVED`) says that it saves time.
    """

    def __init__(
        self,
        prompter: Prompter,
        backbone: Backbone,
        head: Head,
        extractor: ImageFeatureExtractor | None,
        *,
        batch_tokens: int,
        share: bool,
        stats: Stats,
    ) -> None:
        super().__init__(backbone, batch_tokens, stats)
        self.prompter = prompter
        self.head = head
        self.extractor = extractor
        self.share = share and backbone.can_share

    def score_stream(self, requests: Iterable[Request]) -> Iterator[Answer]:
        """Yield (request.key, one score per candidate) for each request, in no particular order.

        Raises AdapterError, or DataError for an image, if a pair cannot be scored; its `place` is (request.key,
        candidate).
        """
        size = WINDOW if self.prompter.layout.first == "query" else DOCUMENT_WINDOW
        iterator = iter(requests)
        parts = iter(lambda: list(itertools.islice(iterator, size)), [])
        try:
            # While the model runs a window, a thread makes the prompts of the next.
            with closing(prefetch(self._plan_window, parts)) as windows:
                for window in windows:
                    yield from self._score_window(window)
        finally:
            if self.extractor is not None:
                self.extractor.expect_nothing()

    def check_item(self, item: Item) -> None:
        """Refuse an item that can never be scored, without decoding its images.

        Raises DataError if an image cannot be resized, AdapterError if the images alone fill a prompt.
        """
        if item.images:
            extractor = self._get_extractor()
            tokens = sum(extractor.tokens(image) for image in item.images)
            if tokens >= self.prompter.max_length:
                shown = "an image" if len(item.images) == 1 else f"{len(item.images)} images"
                raise AdapterError(
                    f"{shown} of {tokens} tokens do{'es' * (len(item.images) == 1)} not fit into "
                    f"max_length={self.prompter.max_length}; raise max_length or lower max_pixels"
                )

    def close(self) -> None:
        """Stop threads and free cached features."""
        if self.extractor is not None:
            self.extractor.close()

    def _plan_window(self, requests: Sequence[Request]) -> Window:
        """Make the prompts of a window and announce its images."""
        groups = self._group_pairs(requests)
        shared = [group for group in groups if self._saves_time(group)]
        single = [pair for group in groups if not self._saves_time(group) for pair in group]
        shared.sort(key=lambda group: min(pair.order for pair in group))
        self._announce_images(shared, single)
        return Window(requests, single, shared)

    def _score_window(self, window: Window) -> Iterator[Answer]:
        requests = window.requests
        scores = [np.full(len(request.candidates), np.nan) for request in requests]
        left = [len(request.candidates) for request in requests]
        found = itertools.chain(
            self._score_in_batches(window.single, None),
            *(self._score_after_prefix(group) for group in window.shared),
        )
        for pairs, values in _place_errors(found, requests):
            for pair, value in zip(pairs, values, strict=True):
                for request, candidate in pair.places:
                    scores[request][candidate] = value
                    left[request] -= 1
                    if not left[request]:
                        yield requests[request].key, scores[request].tolist()
        yield from ((r.key, []) for r in requests if not r.candidates)

    def _group_pairs(self, requests: Sequence[Request]) -> list[list[Pair]]:
        """Return the window's pairs, grouped by what may share a prefix."""
        started = self.stats.clock()
        groups: dict[tuple[str, str], dict[tuple[int, bytes, tuple[str, ...]], Pair]] = {}
        first = self.prompter.layout.first
        for i, request in enumerate(requests):
            try:
                pairs = [(request.query, item) for item in request.candidates]
                prompts = self.prompter.prompts(request.instruction, pairs)
            except MRBError as error:
                error.place = (request.key, *error.place)
                raise
            for j, (item, prompt) in enumerate(zip(request.candidates, prompts, strict=True)):
                shown: Item = request.query if first == "query" else item
                key = (request.instruction, shown.content_hash)
                pair = Pair(prompt, [])
                groups.setdefault(key, {}).setdefault(pair.order, pair).places.append((i, j))
                self.stats.cut_prompts += bool(prompt.cut)
                self.stats.cut_tokens += prompt.cut
        self.stats.add("tokenise", self.stats.clock() - started)
        return [list(group.values()) for group in groups.values()]

    def _get_extractor(self) -> ImageFeatureExtractor:
        if self.extractor is None:
            raise AdapterError("this model takes no images")
        return self.extractor

    def _saves_time(self, group: Sequence[Pair]) -> bool:
        if not self.share or len(group) < 2:
            return False
        spared = _count_common(group) * (len(group) - 1)
        return spared >= LEAST_SAVED * sum(map(_count_tokens, group))

    def _announce_images(self, shared: Sequence[Sequence[Pair]], single: Sequence[Pair]) -> None:
        """Announce the images to prefetch, in the order of the batches below."""
        if self.extractor is not None:
            ordered = sorted(single, key=lambda pair: pair.order)
            for group in shared:
                ordered += sorted(group, key=lambda pair: pair.order)
            self.extractor.expect(image for pair in ordered for image in _list_images(pair.prompt))

    def _score_after_prefix(self, group: Sequence[Pair]) -> Iterator[tuple[Sequence[Pair], list[float]]]:
        shared = _count_common(group)
        prompt = group[0].prompt
        features = self._extract_features(group[:1], end=shared)
        started = self.stats.clock()
        prefix = self.backbone.prefix(make_row(prompt, features, end=shared), features)
        self.stats.synchronised("prefill", started, self.backbone.device)
        self.stats.tokens += shared
        self.stats.shared += shared * (len(group) - 1)
        yield from self._score_in_batches(group, SharedPrefix(shared, prefix, features))

    def _score_in_batches(
        self, pairs: Sequence[Pair], start: SharedPrefix | None
    ) -> Iterator[tuple[Sequence[Pair], list[float]]]:
        """Yield scores batch by batch."""
        spared = start.tokens if start is not None else 0
        ordered = sorted(pairs, key=lambda pair: pair.order)
        yield from self.run_batches(
            ordered,
            lambda pair: _count_tokens(pair) - spared,
            lambda pair: pair.places[0],
            lambda chosen: self._score_batch(chosen, start),
        )

    def _score_batch(self, pairs: Sequence[Pair], start: SharedPrefix | None) -> list[float]:
        spared = start.tokens if start is not None else 0
        features = self._extract_features(pairs, start=spared)
        known = features | start.features if start is not None else features
        rows = [make_row(pair.prompt, known, start=spared) for pair in pairs]
        device = self.backbone.device
        started = self.stats.clock()
        hidden = self.backbone.pool_hidden(rows, features, start.prefix if start is not None else None)
        self.stats.synchronised("prefill", started, device)
        started = self.stats.clock()
        values: list[float] = self.head(hidden).tolist()
        self.stats.synchronised("head", started, device)
        lengths = [len(row.ids) for row in rows]
        pairs_in_all = sum(len(pair.places) for pair in pairs)
        self.stats.count_batch(lengths, pairs_in_all, self.backbone.count_computed(lengths))
        return values

    def _extract_features(self, pairs: Sequence[Pair], start: int = 0, end: int | None = None) -> dict[str, Features]:
        """Return the features of the images between two tokens of the pairs' prompts."""
        wanted = {image.content_hash: image for pair in pairs for image in _list_images(pair.prompt, start, end)}
        try:
            return self._get_extractor().features(wanted.values()) if wanted else {}
        except MRBError as error:
            shown = (
                pair.places[0]
                for pair in pairs
                for image in _list_images(pair.prompt)
                if image.content_hash == error.image
            )
            error.place = next(shown, ())
            raise


def _place_errors(found: Iterator[T], requests: Sequence[Request]) -> Iterator[T]:
    """Yield from `found`; in an error about a pair, replace the request's number in the window by its key."""
    try:
        yield from found
    except MRBError as error:
        if error.place:
            number, candidate = error.place
            error.place = (requests[number].key, candidate)
        raise


def _count_tokens(pair: Pair) -> int:
    return len(pair.prompt.ids)


def _list_images(prompt: Prompt, start: int = 0, end: int | None = None) -> list[ImageHandle]:
    end = len(prompt.ids) if end is None else end
    return [placed.image for placed in prompt.images if start <= placed.start < end]


def _count_common(group: Sequence[Pair]) -> int:
    """Return how many leading tokens all pairs share, before the seam and before each pair's last token."""
    first = group[0].prompt
    common = min(min(pair.prompt.shared, _count_tokens(pair) - 1) for pair in group)
    for pair in group[1:]:
        differs = np.flatnonzero(pair.prompt.ids[:common] != first.ids[:common])
        common = int(differs[0]) if len(differs) else common
    # An image is never split between prefix and rest.
    for placed in first.images:
        if placed.start < common < placed.start + placed.count:
            common = placed.start
    return common
