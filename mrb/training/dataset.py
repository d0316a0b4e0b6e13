"""From groups on disk to batches: the documents sampled of each group of a run, and their prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mrb.data.items import ImageHandle
from mrb.engine.prompt import Prompt, Prompter
from mrb.errors import MRBError, TrainingError
from mrb.training.data.group import Ints, TrainingGroup, deal_groups, order_groups, read_targets, sample_documents
from mrb.training.data.prepare import Source
from mrb.training.losses import Group, split_groups
from mrb.training.losses.listwise import Target
from mrb.training.recipe import ModelSettings, Recipe

CHARACTERS_A_TOKEN = 4
PIXELS_A_TOKEN = 28 * 28


@dataclass(frozen=True)
class Batch:
    """The documents of some queries, query after query: their prompts, labels bool[documents], and documents per query.

    `targets` float32[documents] are those of the listwise loss. `missing` counts the negatives that were wanted but not
    available. `places` are the queries' places in the dataset; `skipped` says what was wrong with the groups that they
    replace.
    """

    prompts: Sequence[Prompt]
    labels: Tensor
    sizes: Sequence[int]
    missing: int = 0
    places: Sequence[int] = ()
    skipped: Sequence[str] = ()
    targets: Tensor | None = None

    def move(self, device: torch.device) -> Batch:
        """Return the batch with its tensors on a device."""
        targets = None if self.targets is None else self.targets.to(device)
        return replace(self, labels=self.labels.to(device), targets=targets)

    def split(self, yes: Tensor, no: Tensor) -> tuple[Group, ...]:
        """Return the groups of the documents with these logits, [documents]."""
        return split_groups(yes, no, self.labels, self.sizes, self.targets)

    @property
    def images(self) -> list[ImageHandle]:
        """The images of all prompts, in order, with repetitions."""
        return [placed.image for prompt in self.prompts for placed in prompt.images]

    @property
    def cut(self) -> int:
        """Prompts that lost text to the maximum length."""
        return sum(prompt.cut > 0 for prompt in self.prompts)

    @property
    def emptied(self) -> int:
        """Prompts that lost all of their document's text."""
        return sum(prompt.emptied for prompt in self.prompts)

    @property
    def tokens(self) -> int:
        """Tokens that the language model reads, without padding."""
        return sum(len(prompt.ids) for prompt in self.prompts)


def make_batch(prompter: Prompter, group: TrainingGroup, missing: int = 0, target: Target | None = None) -> Batch:
    """Return the batch of one group: a prompt for each of its documents, positives first.

    Raises TrainingError if a document lacks the target.
    """
    query, *documents = (one.item for one in group.items)
    prompts = prompter.prompts(group.instruction, [(query, document) for document in documents])
    labels = torch.arange(len(prompts)) < len(group.positives)
    targets = None if target is None else torch.tensor(read_targets(group, target))
    return Batch(prompts, labels, [len(prompts)], missing, targets=targets)


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Return the batch of the queries of `batches`, in order."""
    targets = [batch.targets for batch in batches if batch.targets is not None]
    return Batch(
        prompts=[prompt for batch in batches for prompt in batch.prompts],
        labels=torch.cat([batch.labels for batch in batches]),
        sizes=[size for batch in batches for size in batch.sizes],
        missing=sum(batch.missing for batch in batches),
        places=[place for batch in batches for place in batch.places],
        skipped=[problem for batch in batches for problem in batch.skipped],
        targets=torch.cat(targets) if targets else None,
    )


class GroupDataset(Dataset[Batch | MRBError]):
    """The `count` groups of a whole run in order, as batches of one.

    An item depends only on the seed, its index and the number of processes, which divide the groups of a step by their
    costs, so all processes and restarts see the same items. A group that cannot be trained on is replaced by the next
    of its source, if the recipe says so.
    """

    def __init__(
        self, sources: Sequence[Source], count: int, recipe: Recipe, prompter: Prompter, processes: int = 1
    ) -> None:
        sampling, seed = recipe.sampling, recipe.schedule.seed
        self.sources = sources
        self.skips = recipe.data.skips
        self.sampling = sampling
        self.seed = seed
        self.compares = not recipe.loss.pointwise
        self.target = recipe.loss.target
        self.prompter = prompter
        self.order: Ints = order_groups({source.name: len(source) for source in sources}, count, sampling, seed)
        if processes > 1:
            costs = estimate_costs(sources, self.order, recipe.model)
            self.order = self.order[deal_groups(costs, recipe.schedule.queries, processes, recipe.memory.queries)]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> Batch | MRBError:
        """Return the batch of a group, or the error that its documents raise.

        The error is returned because an exception in a data loader's worker would reach the trainer as a traceback's
        text.
        """
        return self.read(place)

    def read(self, place: int, check: Callable[[Batch], None] | None = None) -> Batch | MRBError:
        """Return an item. A group is also one that cannot be trained on if `check` raises an MRBError for its batch."""
        number, first, visit = map(int, self.order[place])
        source = self.sources[number]
        problems: list[MRBError] = []
        while len(problems) <= min(self.skips, len(source) - 1):
            row = (first + len(problems)) % len(source)
            try:
                group = sample_documents(source.group(row), self.sampling, (self.seed, number, row, visit))
                if self.compares and not group.negatives:
                    raise TrainingError("none of its negatives can be sampled, and this loss compares documents")
                batch = make_batch(self.prompter, group, self.sampling.negatives - len(group.negatives), self.target)
                if check is not None:
                    check(batch)
                return replace(batch, places=(place,), skipped=tuple(map(str, problems)))
            except MRBError as error:
                located = source.locate_error(row, error)
                problems.append(type(located)(f"{located} (source {source.name})"))
        if len(problems) > 1:
            return TrainingError(f"{problems[0]}; the {len(problems) - 1} groups after it cannot be trained on either")
        return problems[0]


def estimate_costs(sources: Sequence[Source], order: Ints, model: ModelSettings) -> npt.NDArray[np.float64]:
    """Return about how many tokens a prompt of each group has, float64[groups]; images count as the largest."""
    costs = np.zeros(len(order))
    tokens = 1 / CHARACTERS_A_TOKEN, model.max_pixels / PIXELS_A_TOKEN
    for number, source in enumerate(sources):
        own = order[:, 0] == number
        costs[own] = source.lengths[order[own, 1]] @ tokens
    return np.minimum(costs, model.max_length)


def collate(items: Sequence[Batch | MRBError]) -> dict[str, Batch | MRBError]:
    """Return the batch of several groups, or the first group's error, under the key "batch".

    It is in a dictionary because data loaders pass values of dictionaries on unchanged.
    """
    errors = [item for item in items if isinstance(item, MRBError)]
    return {"batch": errors[0] if errors else join_batches([item for item in items if isinstance(item, Batch)])}
