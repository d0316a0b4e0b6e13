"""Training of the network of drawings: InfoNCE over drawings of the same thing, and over changes told in words."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mrb.baselines.mini_panel.drawings import DrawingNet, UInt8, hash_words, read_drawing, stack_drawings
from mrb.baselines.mini_panel.fit import fit_network
from mrb.baselines.mini_panel.training_data import HeldOut, load_split
from mrb.data.items import ImageHandle

STEPS = 1200
RATE = 3e-3
_THINGS = 64  # a batch, each in two drawings
_FAMILIES = 6  # a batch, each with up to four changes
_CHANGES = 4
_TEMPERATURE = 0.08


@dataclass(frozen=True)
class Change:
    """Before, the words, after; and whose drawings resemble each other."""

    before: UInt8
    text: str
    after: UInt8
    doc_id: str


def train_drawings(held_out: HeldOut, seed: int = 0, steps: int = STEPS) -> DrawingNet:
    """Return a trained network."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    reader = DrawingCache(held_out)
    things = [drawings for name in ("emoji-i2i", "fact-it2it") for drawings in reader.group_drawings(name)]
    families = reader.group_changes()
    net = DrawingNet()

    def compute_loss() -> Tensor:
        pairs, changes = _draw_pairs(things, rng), _draw_changes(families, rng)
        shown = stack_drawings([change.before for change in changes] + [change.after for change in changes])
        # Read together, so that batch normalisation sees what it will be used on.
        vectors = net(torch.cat([distort(stack_drawings(pairs), 0.35, 0.08), distort(shown, 0.1, 0.02)]))
        return _compare_pairs(vectors[: len(pairs)]) + _compare_changes(net, changes, vectors[len(pairs) :])

    fit_network("drawings", net, steps, compute_loss, rate=RATE, decay=0.05, warmup=0.15)
    return net


class DrawingCache:
    """Reads the drawings of the training splits, each once; those that are held out are None."""

    def __init__(self, held_out: HeldOut) -> None:
        self._held_out = held_out
        self._read: dict[str, UInt8 | None] = {}

    def group_drawings(self, name: str) -> list[list[UInt8]]:
        """Return the drawings of each thing that has at least two: a query's and its positives' images."""
        data = load_split(name)
        groups: dict[str, dict[str, UInt8]] = defaultdict(dict)
        for query_id in data.queries:
            for doc_id in data.qrels[query_id]:
                document = data.corpus.item(doc_id).image
                for image in (document, data.queries.item(query_id).image):
                    assert document is not None and image is not None, "both sides have images"
                    if (drawing := self.read(image)) is not None:
                        groups[document.sha256][image.sha256] = drawing
        return [list(group.values()) for group in groups.values() if len(group) > 1]

    def group_changes(self) -> list[list[Change]]:
        """Return the changes, grouped by the first code point of the emoji."""
        data = load_split("emoji-it2i")
        groups: dict[str, list[Change]] = defaultdict(list)
        for query_id in data.queries:
            query = data.queries.item(query_id)
            for doc_id in data.qrels[query_id]:
                image = data.corpus.item(doc_id).image
                assert query.image is not None and image is not None, "both sides have images"
                before, after = self.read(query.image), self.read(image)
                if before is not None and after is not None:
                    groups[doc_id.split("-")[1]].append(Change(before, query.text, after, doc_id))
        return list(groups.values())

    def read(self, image: ImageHandle) -> UInt8 | None:
        """Return a drawing, None if it is held out."""
        if image.sha256 not in self._read:
            self._read[image.sha256] = None if self._held_out.has_image(image) else read_drawing(image)
        return self._read[image.sha256]


def _draw_pairs(things: list[list[UInt8]], rng: np.random.Generator) -> list[UInt8]:
    """Return a drawing of each of some things, then another drawing of each."""
    chosen = [things[row] for row in rng.choice(len(things), min(_THINGS, len(things)), replace=False)]
    pairs = [rng.permutation(len(thing))[:2] for thing in chosen]
    return [thing[pair[side]] for side in range(2) for thing, pair in zip(chosen, pairs, strict=True)]


def _draw_changes(families: list[list[Change]], rng: np.random.Generator) -> list[Change]:
    changes: list[Change] = []
    for row in rng.choice(len(families), min(_FAMILIES, len(families)), replace=False):
        family = families[row]
        changes += [family[one] for one in rng.choice(len(family), min(_CHANGES, len(family)), replace=False)]
    return changes


def _compare_pairs(vectors: Tensor) -> Tensor:
    one, other = vectors.chunk(2)
    logits = one @ other.T / _TEMPERATURE
    right = torch.arange(len(one))
    return (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2


def _compare_changes(net: DrawingNet, changes: list[Change], vectors: Tensor) -> Tensor:
    before, after = vectors.chunk(2)
    moved = net.change(before, *hash_words([change.text for change in changes]))
    # What is to be changed is the hardest negative of all.
    logits = moved @ torch.cat([after, before]).T / _TEMPERATURE
    names = np.asarray([change.doc_id for change in changes])
    same = torch.from_numpy(names[:, None] == names[None, :]) & ~torch.eye(len(names), dtype=torch.bool)
    logits = logits.masked_fill(functional.pad(same, (0, len(names))), -1e9)
    return functional.cross_entropy(logits, torch.arange(len(changes)))


def distort(drawings: Tensor, moved: float, coloured: float) -> Tensor:
    """Return drawings turned, scaled and shifted by up to half of `moved`, and in other colours. Paper stays white."""
    count = len(drawings)
    turn, scale = (torch.rand(count) - 0.5) * moved, 1 + (torch.rand(count) - 0.5) * moved
    across, down = (torch.rand(2, count) - 0.5) * moved * 0.7
    moves = torch.stack(
        [
            torch.stack([turn.cos() * scale, -turn.sin() * scale, across], 1),
            torch.stack([turn.sin() * scale, turn.cos() * scale, down], 1),
        ],
        1,
    )
    grid = functional.affine_grid(moves, list(drawings.shape), align_corners=False)
    shapes = 1 - functional.grid_sample(1 - drawings, grid, align_corners=False)
    mixed = torch.eye(3) + torch.randn(count, 3, 3) * coloured
    colours = torch.einsum("nij,njhw->nihw", mixed, shapes - 0.5) + 0.5
    colours = colours + torch.randn(count, 3, 1, 1) * 0.75 * coloured
    drawn = (shapes < 0.95).any(1, keepdim=True)
    return torch.where(drawn, colours, shapes).clamp(0, 1)
