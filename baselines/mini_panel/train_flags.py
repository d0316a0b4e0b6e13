"""Training of the network of flags: InfoNCE over training flags, their copies in other colours, and drawn ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mrb.baselines.mini_panel.fit import fit_network
from mrb.baselines.mini_panel.flags import FlagNet, hash_description, stack_colours
from mrb.baselines.mini_panel.training_data import HeldOut, load_split
from mrb.baselines.retrievers.features import ImageFeatures, read_image_features
from mrb.baselines.synthetic.recoloured import recoloured
from mrb.baselines.synthetic.synthetic_flags import drawn, plain
from mrb.data.task_data import TaskData

STEPS = 1500
COPIES = {drawn: 25, recoloured: 8, plain: 5}
RATE = 2e-3
_BATCH = 128
_TEMPERATURE = 0.07
_FORGOTTEN = 0.2  # share of a description's words that a step does not see


def train_flags(held_out: HeldOut, seed: int = 0, steps: int = STEPS, copies: int | None = None) -> FlagNet:
    """Return a trained network. `copies` of each kind of made flags, by default COPIES."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    pairs = [
        pair
        for name in ("flag-t2i", "flag-i2t")
        for data in _make_data(load_split(name), copies)
        for pair in list_pairs(data, held_out)
    ]
    texts = [np.asarray(hash_description(text)) for text, _ in pairs]
    colours = stack_colours([image for _, image in pairs])
    net = FlagNet()
    nn.init.normal_(net.words.weight, std=0.1)

    def compute_loss() -> Tensor:
        chosen = rng.choice(len(pairs), min(_BATCH, len(pairs)), replace=False)
        read = [texts[row][rng.random(len(texts[row])) >= _FORGOTTEN].tolist() for row in chosen]
        logits = net.embed_texts(read) @ net.embed_colours(colours[chosen]).T / _TEMPERATURE
        right = torch.arange(len(chosen))
        return (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2

    fit_network("flags", net, steps, compute_loss, rate=RATE, decay=0.05, warmup=0.1)
    return net


def _make_data(data: TaskData, copies: int | None) -> Iterator[TaskData]:
    yield data
    for make, count in COPIES.items():
        # A task whose queries are images has each flag in three drawings.
        yield make(data, copies or (count if data.task.type == "t2i" else max(1, count // 3)))


def list_pairs(data: TaskData, held_out: HeldOut) -> Iterator[tuple[str, ImageFeatures]]:
    """Yield (description, image) of each positive pair that is not held out."""
    for query_id in data.queries:
        for doc_id in data.qrels[query_id]:
            sides = data.queries.item(query_id), data.corpus.item(doc_id)
            text = next(side.text for side in sides if side.text)
            image = next(side.image for side in sides if side.image is not None)
            if not held_out.has_text(text) and not held_out.has_image(image):
                yield text, read_image_features(image)
