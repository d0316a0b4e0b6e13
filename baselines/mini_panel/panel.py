"""The reranker `mini-panel`: a few small learnt parts, each for what it can compare; weights are in this folder.

Its model card is README.md. Run on its real weights here. Takes text, image and both. Licence: Apache-2.0, part of MRB;
the encoder of texts is all-MiniLM-L6-v2 (Apache-2.0), rounded to four bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mrb.baselines._util.lazy_import import import_or_refuse
from mrb.baselines.rerankers.heuristic import Surface
from mrb.data.items import ImageHandle, Item
from mrb.data.task import Modality
from mrb.errors import AdapterError
from mrb.rerankers.model_card import ENGINE_PACKAGES, ModelCard
from mrb.rerankers.reranker import Request
from mrb.rerankers.training_data import TrainingData

WEIGHTS = Path(__file__).parent / "weights"
PAGE_SIDE = 400
"""An image is a page if its longer side has at least so many pixels: what is smaller cannot be read."""

PAGE = {"pages": 1.0}
MIXTURES: dict[tuple[Modality, Modality], dict[str, float]] = {
    ("text", "text"): {"meaning": 1.0, "words": 1.0},
    ("text", "image"): {"flags": 0.6, "surface": 1.0},
    ("text", "image+text"): {"flags": 0.6, "surface": 1.0},
    ("image", "text"): {"flags": 0.6, "surface": 1.0},
    ("image", "image"): {"drawings": 0.7, "surface": 1.0},
    ("image", "image+text"): {"drawings": 0.7, "surface": 1.0},
    ("image+text", "text"): {"kinds": 1.0},
    ("image+text", "image"): {"drawings": 0.7, "surface": 1.0},
    ("image+text", "image+text"): {"kinds": 1.0, "drawings": 2.0},
}
"""What is added up, by what query and document have; PAGE for a text and a page. Set on the development splits."""


class MiniPanel:
    """A sum of the scores of the parts that can compare a query with a document.

    - meaning: cosine of the texts' vectors (all-MiniLM-L6-v2 in four bits);
    - words: BM25 with the training texts' statistics, as a share of the most that the query's words can give;
    - kinds: whether a text answers the kind of question asked;
    - drawings: cosine of the images' vectors; a query's text says how its image is to be changed first;
    - flags: cosine of a description's and an image's vectors;
    - pages: how well a line read on a page fits the query;
    - surface: the hand-made reranker of that name.

    Options: `path`, a folder that `python -m mrb.baselines.mini_panel.train` made; `without`, a part to leave out. An
    item with several images is as good as its best one.
    """

    card = ModelCard(
        "17.3M",
        checkpoint="ships with MRB",
        run_here="yes",
        compared_with="trained and run here",
        extra="models",
        packages=ENGINE_PACKAGES,
        trained_on=TrainingData(
            "its card; of all-MiniLM-L6-v2: mteb 2.26.24",
            mteb=("MSMARCO", "NQ"),
            tasks=(
                "mini-emoji-i2i",
                "mini-emoji-it2i",
                "mini-fact-it2it",
                "mini-fact-it2t",
                "mini-faq-t2t",
                "mini-flag-i2t",
                "mini-flag-t2i",
                "mini-flag-t2it",
            ),
        ),
    )
    kind = "pointwise"
    max_images = None

    def __init__(self, path: Path = WEIGHTS, without: str = "") -> None:
        import_or_refuse("mini-panel", "transformers", "pip install 'mrb[models]'")
        from mrb.baselines.mini_panel.parts import load_parts
        from mrb.baselines.mini_panel.weights import hash_weights

        self._parts = load_parts(Path(path))
        self._surface = Surface()
        names = [*self._parts, "surface"]
        if without and without not in names:
            raise AdapterError(f"mini-panel: without={without}: the parts are {', '.join(names)}")
        self._without = without
        self.version = f"1, weights {hash_weights(Path(path))}"

    def score(self, request: Request) -> Sequence[float]:
        """Return one score per candidate, about 0 to 2."""
        scores = np.zeros(len(request.candidates))
        groups: dict[tuple[tuple[str, float], ...], list[int]] = {}
        for place, candidate in enumerate(request.candidates):
            groups.setdefault(tuple(choose_mixture(request.query, candidate).items()), []).append(place)
        for mixture, places in groups.items():
            candidates = [request.candidates[place] for place in places]
            for name, weight in mixture:
                if name != self._without:
                    scores[places] += weight * np.asarray(self._compare(name, request, candidates))
        return [float(score) for score in scores]

    def _compare(self, name: str, request: Request, candidates: Sequence[Item]) -> Sequence[float]:
        if name == "surface":
            return self._surface.score(replace(request, candidates=candidates))
        return self._parts[name].compare(request.query, candidates)


def choose_mixture(query: Item, candidate: Item) -> dict[str, float]:
    """Return the weights of the parts that compare a query with a candidate."""
    pair = name_modality(query), name_modality(candidate)
    return PAGE if pair == ("text", "image") and any(map(is_page, candidate.images)) else MIXTURES[pair]


def name_modality(item: Item) -> Modality:
    """Return what an item has. One that has nothing counts as an empty text."""
    if not item.images:
        return "text"
    return "image+text" if item.text else "image"


def is_page(image: ImageHandle) -> bool:
    """Return whether an image is large enough to be a page."""
    return max(image.open_size) >= PAGE_SIDE
