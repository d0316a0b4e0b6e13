"""The reranker `surface`: hand-made features of words, colours and shapes, for every kind of query and document."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mrb.baselines.retrievers.colours import find_text_colours
from mrb.baselines.retrievers.features import ImageCache, ImageFeatures, read_image_features
from mrb.baselines.retrievers.lexical import tokenize
from mrb.baselines.synthetic.flag_layout import match_layout
from mrb.baselines.synthetic.image_edits import edit_image, measure_tone
from mrb.data.items import Item
from mrb.rerankers.model_card import make_plain_card
from mrb.rerankers.reranker import Request

# Weights, set by hand on the development and training splits of the mini suite.
_TRIGRAMS = 0.3  # of letter-trigram similarity, added to word overlap
_COLOURS = 0.5  # of the named colours; the rest is their positions
_TONE = 0.2  # of the named skin tone, added to image similarity
_ASIDE = 0.3  # of text against image, if texts can be compared with texts
_LENGTH = 100  # document length in words at which counts are not rescaled
_DATED = 0.1  # for a document with a date or year, if the query asks when

_WHEN = re.compile(r"^when\b|\bwhat (year|date)\b|\bwhich (year|date)\b")
_DATE = re.compile(r"\b(1[0-9]|20)[0-9]{2}\b")


class Surface:
    """A cheap hand-made reranker of any pair, by the modalities that both sides have.

    - Text and text: the share of the query's words found in the document, weighted by word length (longer words are
      rarer), with counts damped as in BM25 with a fixed mean length, plus the cosine of letter trigrams.
    - Image and image: cosine of the hand-made image features of `pixels`. If the query also has a text that names a
      change (another colour, mirrored), the query's image is changed first; a named skin tone is looked for in the
      candidate.
    - Text and image, either way: the named colours against the colours shown, and their named positions (bands, field,
      cross, triangle, corner). It cannot read: on images of pages it is no better than chance.

    An item with several images is as good as its best one: the score is the greatest over the pairs of images.

    Covers: all inputs. Pointwise, without corpus statistics, not trained. Licence: Apache-2.0, part of MRB.
    """

    card = make_plain_card()
    kind = "pointwise"
    max_images = None
    version = "1"
    batch_invariant = True

    def __init__(self) -> None:
        self._picture = ImageCache(read_image_features, 10_000)
        self._profile = lru_cache(maxsize=20_000)(_make_profile)

    def score(self, request: Request) -> Sequence[float]:
        """Return one score per candidate, about 0 to 2. Terms for which a side lacks text or image are left out."""
        query = request.query
        views = [
            (shown, edit_image(shown, query.text) if shown and query.text else None) for shown in self._view(query)
        ]
        return [
            max(
                self._score_pair(query, shown, wanted, candidate, picture)
                for shown, wanted in views
                for picture in self._view(candidate)
            )
            for candidate in request.candidates
        ]

    def _view(self, item: Item) -> Sequence[ImageFeatures | None]:
        """Return the features of each image of an item; one None if it has no image."""
        return [self._picture(image) for image in item.images] or [None]

    def _score_pair(
        self,
        query: Item,
        shown: ImageFeatures | None,
        wanted: ImageFeatures | None,
        candidate: Item,
        picture: ImageFeatures | None,
    ) -> float:
        score = 0.0
        if query.text and candidate.text:
            score += compute_text_likeness(self._profile(query.text), self._profile(candidate.text))
            score += _DATED * bool(_WHEN.search(query.text.lower()) and _DATE.search(candidate.text))
        if shown and picture:
            score += _compute_likeness(wanted or shown, picture)
            score += _TONE * measure_tone(query.text, picture)
        if shown is None and picture:
            score += _match_named_colours(query.text, picture)
        if shown and picture is None:
            score += _match_named_colours(candidate.text, shown) * (_ASIDE if query.text else 1.0)
        return score


@dataclass(frozen=True)
class Profile:
    """A text's counted words and letter trigrams, and the norm of the trigram vector."""

    words: Counter[str]
    length: int
    trigrams: Counter[str]
    norm: float


def compute_text_likeness(query: Profile, document: Profile) -> float:
    """Return the share of common words (0 to 1) plus 0.3 times the cosine of letter trigrams.

    A word's weight is its number of letters, since frequent words are short (Zipf's law of abbreviation). Its count tf
    in the document becomes 2.2 tf / (tf + 1.2 (0.25 + 0.75 length / 100)), the form of BM25, but at most 1.
    """
    norm = 1.2 * (0.25 + 0.75 * document.length / _LENGTH)
    total = sum(len(word) for word in query.words)
    found = sum(
        len(word) * min(1.0, 2.2 * document.words[word] / (document.words[word] + norm))
        for word in query.words
        if word in document.words
    )
    small, large = sorted((query.trigrams, document.trigrams), key=len)
    dot = sum(count * large[gram] for gram, count in small.items() if gram in large)
    return (found / total if total else 0.0) + _TRIGRAMS * dot / max(query.norm * document.norm, 1e-12)


def _make_profile(text: str) -> Profile:
    counted = Counter(tokenize(text))
    spaced = f" {' '.join(text.lower().split())} "
    trigrams = Counter(spaced[start : start + 3] for start in range(len(spaced) - 2))
    norm = math.sqrt(sum(count * count for count in trigrams.values()))
    return Profile(counted, counted.total(), trigrams, norm)


def _compute_likeness(one: ImageFeatures, other: ImageFeatures) -> float:
    return float(one.vector @ other.vector)


def _match_named_colours(text: str, picture: ImageFeatures) -> float:
    """Return how well an image fits the colours and positions named in `text`, 0 to 1; 0 if it names none."""
    colours = float(find_text_colours(text) @ picture.palette)
    return _COLOURS * colours + (1 - _COLOURS) * match_layout(text, picture.colour_map)
