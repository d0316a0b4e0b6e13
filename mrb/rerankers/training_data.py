"""What is published of a model's training data, as marks of the registry's tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mrb.data.mteb_facts import find_mteb_tasks

PublishedMark = Literal["trained-on", "related"]


@dataclass(frozen=True)
class TrainingData:
    """The test sets whose data a model was trained on, as its publisher or mteb states. Empty: none of them.

    A set that is not listed is not declared clean: sources are rarely complete.

    Args:
        source: Where it is stated, for people.
        mteb: Training data by the names of mteb's tasks; those without a task in the registry are kept for the reader.
        tasks: Ids of tasks of the registry, for data that mteb does not name.

    Example:
        >>> TrainingData("its card", mteb=("MSMARCO", "NanoNQRetrieval", "BioASQ")).find_marks()
        {'msmarco': 'trained-on', 'nq': 'related'}
    """

    source: str
    mteb: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()

    def find_marks(self) -> Mapping[str, PublishedMark]:
        """Return the mark of each task of the registry that is concerned, by task id, sorted.

        trained-on: the task's own training split or test set; related: other data made from the same source.
        """
        same, related = find_mteb_tasks(self.mteb)
        found: dict[str, PublishedMark] = dict.fromkeys(related, "related")
        return dict(sorted((found | dict.fromkeys([*same, *self.tasks], "trained-on")).items()))
