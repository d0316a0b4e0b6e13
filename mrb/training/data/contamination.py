"""Check training data against test data: no query or document of a test is trained on.

Every task whose data is on this disk is hashed, texts in a normal form and images by pixels; all others are "unknown".
An item collides if its image is one of a task's images, or if its text is the whole of a task's item or the text of one
of its documents. The text that a test query has besides its image is not compared: it is often one question asked about
many images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mrb._util.files import write_array
from mrb._util.hashing import sha256_bytes, sha256_json
from mrb.data.items import Item
from mrb.data.load import load_task_data
from mrb.data.task import Task, list_suites, list_tasks
from mrb.errors import DataError
from mrb.hub.manifest import find_cache_root
from mrb.hub.pull_data import is_local
from mrb.training.data.dedup import image_key, normal_text, text_key
from mrb.training.data.group import TrainingGroup, TrainingItem

Keys = npt.NDArray[np.uint64]
LAYOUT = 1
"""Part of a cached file's name: incremented when the definition of a collision changes."""
TRAINING_SUITE = "-train"


@dataclass(frozen=True)
class HeldOutIndex:
    """Hashes of test items by task, and the tasks whose data is not on this disk."""

    keys: dict[str, Keys]
    unknown: tuple[str, ...]

    @cached_property
    def identity(self) -> str:
        """SHA-256 over tasks and hashes: a file checked against the same index needs no second check."""
        return sha256_json([LAYOUT, {task: sha256_bytes(keys.tobytes()) for task, keys in sorted(self.keys.items())}])

    @cached_property
    def _names(self) -> list[str]:
        return sorted(self.keys)

    @cached_property
    def _merged(self) -> tuple[Keys, npt.NDArray[np.int64]]:
        """All keys, sorted, and the task that owns each."""
        keys = np.concatenate([np.empty(0, np.uint64), *(self.keys[name] for name in self._names)])
        owners = np.repeat(np.arange(len(self._names)), [len(self.keys[name]) for name in self._names])
        order = np.argsort(keys, kind="stable")
        return keys[order], owners[order]

    def tasks_with(self, keys: Sequence[int]) -> list[str]:
        """Return the tasks that have an item with one of `keys`."""
        held, owners = self._merged
        wanted = np.asarray(keys, np.uint64)
        low, high = np.searchsorted(held, wanted, "left"), np.searchsorted(held, wanted, "right")
        found = {int(owner) for a, b in zip(low, high, strict=True) for owner in owners[a:b]}
        return [self._names[owner] for owner in sorted(found)]


def held_out_tasks() -> list[Task]:
    """Return every defined task except the splits made for training (suites named `...-train`)."""
    training = {task_id for suite in list_suites() if suite.id.endswith(TRAINING_SUITE) for task_id in suite.tasks}
    return [task for task in list_tasks() if task.id not in training]


def held_out_index(tasks: Iterable[Task], say: Callable[[str], None]) -> HeldOutIndex:
    """Return the index of `tasks`; a task's hashes are kept in MRB's cache. `say` is called before a task is hashed."""
    keys: dict[str, Keys] = {}
    unknown: list[str] = []
    for task in tasks:
        if is_local(task):
            keys[task.id] = _keys_of(task, say)
        else:
            unknown.append(task.id)
    return HeldOutIndex(keys, tuple(unknown))


def _keys_of(task: Task, say: Callable[[str], None]) -> Keys:
    path = find_cache_root() / "contamination" / f"{sha256_json([LAYOUT, task.id, task.hash, task.revision])}.npy"
    if not path.is_file():
        say(f"{task.id}: hashing its test items, once")
        keys = np.unique(np.fromiter(_task_keys(task), np.uint64))
        write_array(path, keys)
    try:
        found: Keys = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it") from error
    return found


def _task_keys(task: Task) -> Iterator[int]:
    data = load_task_data(task)
    for query_id in data.queries:
        item = data.queries.item(query_id)
        yield from _keys(item, with_text=item.image is None)
    for doc_id in data.corpus:
        yield from _keys(data.corpus.item(doc_id), with_text=True)


def _keys(item: Item, *, with_text: bool) -> list[int]:
    keys = [] if item.image is None else [image_key(item.image)]
    return [*keys, text_key(item.text)] if with_text and normal_text(item.text) else keys


@dataclass
class Tally:
    """What was dropped. `hits` counts, for each task, the items that are also its own."""

    groups: int = 0
    positives: int = 0
    negatives: int = 0
    hits: dict[str, int] = field(default_factory=dict)


@dataclass
class Checker:
    """Removes test data from groups, and counts it."""

    index: HeldOutIndex
    tally: Tally = field(default_factory=Tally)
    _known: dict[str, list[str]] = field(default_factory=dict)

    def clean(self, group: TrainingGroup) -> TrainingGroup | None:
        """Return the group without colliding documents; None if its query collides, or no positive or no negative is
        left.
        """
        query = self._hits(group.query, with_text=group.query.item.image is None)
        positives = [one for one in group.positives if not self._hits(one, with_text=True)]
        negatives = [one for one in group.negatives if not self._hits(one, with_text=True)]
        self.tally.positives += len(group.positives) - len(positives)
        self.tally.negatives += len(group.negatives) - len(negatives)
        if query or not positives or not negatives:
            self.tally.groups += 1
            return None
        return replace(group, positives=positives, negatives=negatives)

    def _hits(self, one: TrainingItem, *, with_text: bool) -> list[str]:
        key = f"{with_text}{one.item.content_hash}"
        if key not in self._known:
            if len(self._known) >= ITEMS_HELD:
                self._known.clear()
            self._known[key] = self.index.tasks_with(_keys(one.item, with_text=with_text))
        for task in self._known[key]:
            self.tally.hits[task] = self.tally.hits.get(task, 0) + 1
        return self._known[key]


ITEMS_HELD = 200_000
"""Number of items whose result is cached: negatives recur."""
