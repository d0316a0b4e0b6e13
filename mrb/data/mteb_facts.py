"""What mteb states: its names of the registry's test sets (`tasks/mteb_names.toml`), and the sets that its rerankers
were trained on (`tasks/mteb_models.toml`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

from mrb.data.task import locate_task_folder, read_toml_values


class MtebNames(NamedTuple):
    """mteb's names by task id: `same` of the set itself (by part of the task), `related` of sets made from its data."""

    same: Mapping[str, tuple[str, ...]]
    related: Mapping[str, tuple[str, ...]]


@cache
def load_mteb_names() -> MtebNames:
    """Return the table. A task with several parts has one name for each, in the order of the parts.

    Example:
        >>> load_mteb_names().same["fiqa"]
        ('FiQA2018',)
    """
    stated = read_toml_values(locate_task_folder() / "mteb_names.toml")
    same, related = ({task_id: tuple(names) for task_id, names in stated[key].items()} for key in MtebNames._fields)
    return MtebNames(same, related)


@cache
def load_mteb_training() -> Mapping[str, tuple[str, ...]]:
    """Return what mteb states of its rerankers' training data: mteb's names of sets by ORG/NAME in lower case.

    Example:
        >>> load_mteb_training()["cross-encoder/ms-marco-minilm-l6-v2"]
        ('MSMARCO',)
    """
    stated = read_toml_values(locate_task_folder() / "mteb_models.toml")["trained_on"]
    return {name.lower(): tuple(names) for name, names in stated.items()}


def find_mteb_tasks(names: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return the ids of the tasks that are mteb's sets of these names, and of those that share data with one.

    A name without a task in the registry is left out. No task is in both.

    Example:
        >>> find_mteb_tasks(["NQ", "NanoSciFactRetrieval", "BioASQ"])
        ({'nq'}, {'scifact', 'scifact-decontaminated'})
    """
    wanted, table = frozenset(names), load_mteb_names()
    same, related = ({task_id for task_id, known in side.items() if not wanted.isdisjoint(known)} for side in table)
    return same, related - same
