"""From groups on disk to batches: the documents sampled of each group of a run, and their prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mrb.data.items import ImageHandle
from mrb.engine.prompt import Prompt, Prompter
from mrb.errors import MRBError
from mrb.training.data.group import Ints, Sampling, TrainingGroup, order_groups, sample_documents
from mrb.training.data.prepare import Source


@dataclass(frozen=True)
class Batch:
    """The documents of some queries, query after query: their prompts, labels bool[documents], and documents per query.

    `missing` counts the negatives that were wanted but not available.
    """

    prompts: Sequence[Prompt]
    labels: Tensor
    sizes: Sequence[int]
    missing: int = 0

    @property
    def images(self) -> list[ImageHandle]:
        """The images of all prompts, in order, with repetitions."""
        return [placed.image for prompt in self.prompts for placed in prompt.images]

    @property
    def tokens(self) -> int:
        """Tokens that the language model reads, without padding."""
        return sum(len(prompt.ids) for prompt in self.prompts)


def make_batch(prompter: Prompter, group: TrainingGroup, missing: int = 0) -> Batch:
    """Return the batch of one group: a prompt for each of its documents, positives first."""
    query, *documents = (one.item for one in group.items)
    prompts = prompter.prompts(group.instruction, [(query, document) for document in documents])
    labels = torch.arange(len(prompts)) < len(group.positives)
    return Batch(prompts, labels, [len(prompts)], missing)


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Return the batch of the queries of `batches`, in order."""
    return Batch(
        prompts=[prompt for batch in batches for prompt in batch.prompts],
        labels=torch.cat([batch.labels for batch in batches]),
        sizes=[size for batch in batches for size in batch.sizes],
        missing=sum(batch.missing for batch in batches),
    )


class GroupDataset(Dataset[Batch | MRBError]):
    """The `count` groups of a whole run in order, as batches of one.

    An item depends only on the seed and its index, so all processes and restarts see the same items.
    """

    def __init__(
        self, sources: Sequence[Source], count: int, sampling: Sampling, seed: int, prompter: Prompter
    ) -> None:
        self.sources = sources
        self.sampling = sampling
        self.seed = seed
        self.prompter = prompter
        self.order: Ints = order_groups([len(source) for source in sources], count, sampling.by_size, seed)

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> Batch | MRBError:
        """Return the batch of a group, or the error that its documents raise.

        The error is returned because an exception in a data loader's worker would reach the trainer as a traceback's
        text.
        """
        number, row, visit = map(int, self.order[place])
        source = self.sources[number]
        try:
            group = sample_documents(source.group(row), self.sampling, (self.seed, number, row, visit))
            return make_batch(self.prompter, group, self.sampling.negatives - len(group.negatives))
        except MRBError as error:
            return source.locate_error(row, error)


def collate(items: Sequence[Batch | MRBError]) -> dict[str, Batch | MRBError]:
    """Return the batch of several groups, or the first group's error, under the key "batch".

    It is in a dictionary because data loaders pass values of dictionaries on unchanged.
    """
    errors = [item for item in items if isinstance(item, MRBError)]
    return {"batch": errors[0] if errors else join_batches([item for item in items if isinstance(item, Batch)])}
