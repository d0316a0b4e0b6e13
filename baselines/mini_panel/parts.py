"""The learnt parts of mini-panel as scorers: each compares a query with candidates in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mrb.baselines.mini_panel.drawings import DrawingNet, hash_words, read_drawing, stack_drawings
from mrb.baselines.mini_panel.flags import FlagNet, hash_description, stack_colours
from mrb.baselines.mini_panel.pages import LineReader, ReadLine, count_trigrams, match_title, read_page
from mrb.baselines.mini_panel.texts import KindHead
from mrb.baselines.mini_panel.weights import load_encoder, load_network, load_words
from mrb.baselines.retrievers.features import ImageCache, read_image_features
from mrb.baselines.retrievers.lexical import tokenize
from mrb.data.items import ImageHandle, Item

CACHED = 20_000
"""Number of texts, and of images, whose vectors each part keeps."""


class Part(Protocol):
    """A scorer of pairs."""

    def compare(self, query: Item, candidates: Sequence[Item]) -> Sequence[float]:
        """Return one score per candidate. What a side has is known to suit the part."""
        ...


def load_parts(folder: Path) -> dict[str, Part]:
    """Return the parts by name, with the weights in a folder. Raises AdapterError if one is missing."""
    vectors = TextVectors(folder)
    return {
        "meaning": Meaning(vectors),
        "words": Words(folder),
        "kinds": Kinds(vectors, folder),
        "drawings": Drawings(folder),
        "flags": Flags(folder),
        "pages": Pages(folder),
    }


class TextVectors:
    """Vectors of texts, each computed once while it is among the last CACHED."""

    def __init__(self, folder: Path) -> None:
        self._encoder = load_encoder(folder)
        self._held: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return float32[n, 384]."""
        found = {text: self._held.pop(text) for text in dict.fromkeys(texts) if text in self._held}
        new = [text for text in dict.fromkeys(texts) if text not in found]
        if new:
            found |= zip(new, self._encoder.encode(new), strict=True)
        self._held |= found  # the last used are last
        for text in list(self._held)[: max(0, len(self._held) - CACHED)]:
            del self._held[text]
        return torch.stack([found[text] for text in texts])


class Meaning:
    """Cosine of the texts' vectors."""

    def __init__(self, vectors: TextVectors) -> None:
        self._vectors = vectors

    def compare(self, query: Item, candidates: Sequence[Item]) -> Sequence[float]:
        """Return the cosines."""
        documents = self._vectors([candidate.text for candidate in candidates])
        return (documents @ self._vectors([query.text])[0]).tolist()


class Words:
    """BM25 with the training texts' statistics, as a share of the most that the query's words can give."""

    def __init__(self, folder: Path) -> None:
        self._statistics = load_words(folder)
        self._split = lru_cache(maxsize=CACHED)(tokenize)

    def compare(self, query: Item, candidates: Sequence[Item]) -> Sequence[float]:
        """Return the shares, 0 to 1."""
        words = self._split(query.text)
        return [self._statistics.compute_match(words, self._split(candidate.text)) for candidate in candidates]


class Kinds:
    """Whether a text answers the kind of question that the query's text asks."""

    def __init__(self, vectors: TextVectors, folder: Path) -> None:
        self._vectors = vectors
        self._head = load_network(folder, "kinds", KindHead())

    @torch.no_grad()
    def compare(self, query: Item, candidates: Sequence[Item]) -> Sequence[float]:
        """Return scores of -1 to 1."""
        documents = self._vectors([candidate.text for candidate in candidates])
        scores: Tensor = self._head(self._vectors([query.text]), documents)[0]
        return scores.tolist()


class Drawings:
    """Cosine of the images' vectors. If documents are images only, the query's text says how its image is changed."""

    def __init__(self, folder: Path) -> None:
        self._net = load_network(folder, "drawings", DrawingNet())
        self._vectors = ImageCache(self._embed, CACHED)

    @torch.no_grad()
    def _embed(self, image: ImageHandle) -> Tensor:
        vector: Tensor = self._net(stack_drawings([read_drawing(image)]))[0]
        return vector

    @torch.no_grad()
    def compare(self, query: Item, candidates: Sequence[Item]) -> Sequence[float]:
        """Return the cosines of the best pairs of images."""
        shown = torch.stack([self._vectors(image) for image in query.images])
        if query.text and not candidates[0].text:
            shown = self._net.change(shown, *hash_words([query.text] * len(shown)))
        documents = [torch.stack([self._vectors(image) for image in candidate.images]) for candidate in candidates]
        return [float((document @ shown.T).max()) for document in documents]


class Flags:
    """Cosine of a description's and an image's vectors, whichever side has which."""

    def __init__(self, folder: Path) -> None:
        self._net = load_network(folder, "flags", FlagNet())
        self._shown = ImageCache(self._embed_image, CACHED)
        self._told = lru_cache(maxsize=CACHED)(self._embed_text)

    @torch.no_grad()
    def _embed_image(self, image: ImageHandle) -> Tensor:
        vector: Tensor = self._net.embed_colours(stack_colours([read_image_features(image)]))[0]
        return vector

    @torch.no_grad()
    def _embed_text(self, text: str) -> Tensor:
        return self._net.embed_texts([hash_description(text)])[0]

    def compare(self, query: Item, candidates: Sequence[Item]) -> Sequence[float]:
        """Return the cosines of the best images."""
        return [
            max(float(self._told(told.text) @ self._shown(image)) for image in shown.images)
            for told, shown in ((query, one) if one.images and not query.images else (one, query) for one in candidates)
        ]


class Pages:
    """How well the best line read on a page fits the query's text."""

    def __init__(self, folder: Path) -> None:
        self._reader = load_network(folder, "pages", LineReader())
        self._read = ImageCache(self._read_lines, CACHED)

    def _read_lines(self, image: ImageHandle) -> list[ReadLine]:
        return read_page(self._reader, np.asarray(image.open().convert("L")))

    def compare(self, query: Item, candidates: Sequence[Item]) -> Sequence[float]:
        """Return how well the best page of each candidate fits, 0 to 1.3."""
        title = count_trigrams(query.text)
        return [max(match_title(title, self._read(image)) for image in candidate.images) for candidate in candidates]
