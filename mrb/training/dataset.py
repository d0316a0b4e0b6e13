"""From groups on disk to batches: the order of a run, the documents sampled of each group, their prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

from mrb.data.items import Item
from mrb.engine.prompt import Prompt, Prompter
from mrb.errors import MRBError
from mrb.training.data.prepare import Source
from mrb.training.data.sampling import Drawn, Ints, Sampling, draw
from mrb.training.grad_cache import Batch


@dataclass(frozen=True)
class Asked:
    """A group as one training step sees it: a prompt per document, positives first.

    `missing` counts the negatives that were wanted but not available.
    """

    prompts: Sequence[Prompt]
    positives: int
    missing: int


class Feed(Dataset[Asked | MRBError]):
    """The groups of a whole run in order. Row i of `order` [n, 3] gives (source, row, visit) of item i.

    An item depends only on the seed and its index, so all processes and restarts see the same items.
    """

    def __init__(
        self, sources: Sequence[Source], order: Ints, sampling: Sampling, seed: int, prompter: Prompter
    ) -> None:
        self.sources = sources
        self.order = order
        self.sampling = sampling
        self.seed = seed
        self.prompter = prompter

    def __len__(self) -> int:
        return len(self.order)

    def drawn(self, place: int) -> Drawn:
        """Return the documents sampled for item `place` of the run."""
        source, row, visit = (int(number) for number in self.order[place])
        return draw(self.sources[source].group(row), self.sampling, (self.seed, source, row, visit))

    def __getitem__(self, place: int) -> Asked | MRBError:
        """Return a group's prompts, or the error that they raise.

        The error is returned because an exception in a data loader's worker would reach the trainer as a traceback's
        text.
        """
        try:
            drawn = self.drawn(place)
            return Asked(prompts_of(self.prompter, drawn), len(drawn.positives), drawn.missing)
        except MRBError as error:
            source, row, _ = (int(number) for number in self.order[place])
            return self.sources[source].named(row, error)


def prompts_of(prompter: Prompter, drawn: Drawn) -> list[Prompt]:
    """Return a prompt for each document of a sampled group."""
    query = drawn.group.query.item
    pairs: list[tuple[Item, Item]] = [(query, document.item) for document in drawn.documents]
    return prompter.prompts(drawn.group.instruction, pairs)


def collate(asked: Sequence[Asked | MRBError]) -> dict[str, Batch | MRBError]:
    """Return a batch of groups, or the first group's error, under the key "batch".

    It is in a dictionary because data loaders pass values of dictionaries on unchanged.
    """
    good = [one for one in asked if isinstance(one, Asked)]
    if len(good) < len(asked):
        return {"batch": next(one for one in asked if isinstance(one, MRBError))}
    return {"batch": batch_of(good)}


def batch_of(asked: Sequence[Asked]) -> Batch:
    """Return the batch of several groups."""
    labels = [place < one.positives for one in asked for place in range(len(one.prompts))]
    return Batch(
        prompts=[prompt for one in asked for prompt in one.prompts],
        labels=torch.tensor(labels),
        sizes=[len(one.prompts) for one in asked],
        missing=sum(one.missing for one in asked),
    )
