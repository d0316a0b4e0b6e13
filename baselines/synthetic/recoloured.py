"""Augment training data: images in permuted colours, with the colour words of their texts changed in the same way.

One three-band flag becomes many, each with its description, so that a small model can learn words and positions of
colours from a few dozen flags. Nothing is looked up about any flag; like all training data the result is checked
against test data.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mrb._util.hashing import compute_sample_hash
from mrb.baselines.retrievers.colours import COLOURS, SHADES, name_pixels, rename_mentions
from mrb.baselines.synthetic.table_builders import Rows, split_task
from mrb.data.items import ImageHandle, Item
from mrb.data.task_data import TaskData

PALETTE = ("red", "white", "blue", "green", "yellow", "black", "orange")
"""The colours that are permuted: those of flags."""
_SIDE = 64  # longest side of an output image, in pixels
_MAIN = 0.015  # a colour that covers a smaller share is an edge between others
_RELIEF = 0.5  # share of the brightness differences that recolouring keeps
_GROUND = 250  # corners at least this bright are paper, not part of the drawing

Pixels = npt.NDArray[np.uint8]


def recoloured(data: TaskData, copies: int) -> TaskData:
    """Return `copies` of each query and its first positive, each copy in other colours; the same in every build.

    The colours of `PALETTE` are permuted, in images and words of query and document together; white stays if an image
    lies on white paper. Documents without a query and a side table are left out. Ids are `copy/query id`; each copy is
    a part of the task.
    """
    painter = _Painter()
    queries, corpus = Rows(), Rows()
    qrels: dict[str, dict[str, int]] = {}
    for copy in range(copies):
        for query_id in data.queries:
            query = data.queries.item(query_id)
            document = data.corpus.item(next(iter(data.qrels[query_id])))
            rng = np.random.default_rng(compute_sample_hash(data.task.id, f"{copy}/{query_id}"))
            names = _permutation(rng, paper=painter.on_paper(query) or painter.on_paper(document))
            own = f"{copy}/{query_id}"
            queries.add(own, painter.item(query, names, rng))
            corpus.add(own, painter.item(document, names, rng))
            qrels[own] = {own: 1}
    # Each copy is searched separately, so that lists are as hard as the task's own.
    task = split_task(data.task, map(str, range(copies)))
    return TaskData(task, queries.table("queries"), corpus.table("corpus"), qrels, data.counts)


def _permutation(rng: np.random.Generator, *, paper: bool) -> dict[str, str]:
    moved = [name for name in PALETTE if not (paper and name == "white")]
    return dict(zip(moved, rng.permutation(moved).tolist(), strict=True))


@dataclass(frozen=True)
class _Split:
    """An image segmented by colour.

    `owner` [h, w] holds rows of COLOURS, `light` [h, w] the brightness relative to its colour's mean, `pixels` the
    original.
    """

    pixels: Pixels
    owner: npt.NDArray[np.int64]
    light: npt.NDArray[np.float64]
    on_paper: bool


class _Painter:
    """Recolours items; caches each image's segmentation, which every copy needs again."""

    def __init__(self) -> None:
        self._splits: dict[str, _Split] = {}

    def on_paper(self, item: Item) -> bool:
        """Return whether the item has an image with white corners."""
        return item.image is not None and self._split(item.image).on_paper

    def _split(self, image: ImageHandle) -> _Split:
        if image.sha256 not in self._splits:
            self._splits[image.sha256] = _split(np.asarray(image.open()))
        return self._splits[image.sha256]

    def item(self, item: Item, names: dict[str, str], rng: np.random.Generator) -> tuple[str, bytes | None]:
        """Return (text, PNG) of the item in other colours."""
        return rename_mentions(item.text, names), None if item.image is None else self._png(
            self._split(item.image), names, rng
        )

    def _png(self, split: _Split, names: dict[str, str], rng: np.random.Generator) -> bytes:
        from PIL import Image

        values = split.pixels.astype(np.float64)
        for old, new in names.items():
            part = split.owner == COLOURS.index(old)
            if part.any() and old != new:
                shade = np.asarray(SHADES[new][int(rng.integers(min(3, len(SHADES[new]))))], np.float64)
                values[part] = shade + _RELIEF * split.light[part][:, None]
        picture = Image.fromarray(values.clip(0, 255).astype(np.uint8))
        scale = min(1.0, _SIDE / max(picture.size))
        if scale < 1:
            size = (round(picture.width * scale), round(picture.height * scale))
            picture = picture.resize(size, Image.Resampling.BOX)
        out = io.BytesIO()
        picture.save(out, "PNG")
        return out.getvalue()


def _split(pixels: Pixels) -> _Split:
    shares = name_pixels(pixels.astype(np.float64))
    main = np.bincount(shares.argmax(axis=-1).ravel(), minlength=len(COLOURS)) >= _MAIN * shares[..., 0].size
    owner = np.where(main, shares, -1).argmax(axis=-1)
    light = pixels.astype(np.float64).mean(axis=-1)
    for row in np.unique(owner):
        light[owner == row] -= light[owner == row].mean()
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
    return _Split(pixels, owner, light, bool((corners >= _GROUND).all()))
