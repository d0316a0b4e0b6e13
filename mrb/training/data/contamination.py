"""Check training data against test data: no query or document of a test is trained on.

Every task whose data is on this disk is hashed, texts in a normal form and images by pixels; all others are "unknown".
An item collides if its image is one of a task's images, or if its text is the whole of a task's item or the text of one
of its documents. The text that a test query has besides its image is not compared: it is often one question asked about
many images.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt

from mrb._util.files import write_array
from mrb._util.format import format_count
from mrb._util.hashing import hash_bytes, hash_json
from mrb._util.model import Model
from mrb.data.items import Item
from mrb.data.load import load_task_data
from mrb.data.pull_data import is_local
from mrb.data.task import Task, list_suites, list_tasks
from mrb.errors import DataError
from mrb.hub.manifest import find_cache_root
from mrb.training.data.dedup import hash_image, hash_text, normalize_text
from mrb.training.data.group import TrainingGroup, TrainingItem

logger = logging.getLogger(__name__)

Keys = npt.NDArray[np.uint64]
LAYOUT = 1
"""Part of a cached file's name: incremented when the definition of a collision changes."""
TRAINING_SUITE = "-train"


@dataclass(frozen=True)
class HeldOutIndex:
    """Hashes of test items by task, sorted, and the tasks whose data is not on this disk."""

    keys: dict[str, Keys]
    unknown: tuple[str, ...]

    @cached_property
    def identity(self) -> str:
        """SHA-256 over tasks and hashes: a file checked against the same index needs no second check."""
        return hash_json([LAYOUT, {task: hash_bytes(keys.tobytes()) for task, keys in sorted(self.keys.items())}])

    def find_tasks(self, keys: Sequence[int]) -> dict[int, list[str]]:
        """Return the tasks that have an item with a key, sorted, for those of `keys` that are of any task."""
        wanted = np.unique(np.asarray(keys, np.uint64))
        found: dict[int, list[str]] = {}
        for task, own in sorted(self.keys.items()):  # a task's keys are sorted
            if len(own):
                for key in wanted[own.take(np.searchsorted(own, wanted), mode="clip") == wanted].tolist():
                    found.setdefault(key, []).append(task)
        return found


def list_held_out() -> list[Task]:
    """Return every defined task except the splits made for training (suites named `...-train`)."""
    training = {task_id for suite in list_suites() if suite.id.endswith(TRAINING_SUITE) for task_id in suite.tasks}
    return [task for task in list_tasks() if task.id not in training]


def load_held_out(tasks: Iterable[Task]) -> HeldOutIndex:
    """Return the index of `tasks`; a task's hashes are kept in MRB's cache. Logs before a task is hashed."""
    keys: dict[str, Keys] = {}
    unknown: list[str] = []
    for task in tasks:
        if is_local(task):
            keys[task.id] = _load_keys(task)
        else:
            unknown.append(task.id)
    return HeldOutIndex(keys, tuple(unknown))


def _load_keys(task: Task) -> Keys:
    # The hash of a task does not say where in a repository its tables lie, which decides the rows that are hashed.
    key = hash_json([LAYOUT, task.hash, task.source.model_dump(mode="json")])
    path = find_cache_root() / "contamination" / f"{key}.npy"
    if not path.is_file():
        logger.info(f"{task.id}: hashing its test items, once")
        keys = np.unique(np.fromiter(_hash_task(task), np.uint64))
        write_array(path, keys)
    try:
        found: Keys = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it") from error
    return found


def _hash_task(task: Task) -> Iterator[int]:
    data = load_task_data(task)
    for query_id in data.queries:
        item = data.queries.item(query_id)
        yield from hash_item(item, with_text=not item.images)
    for doc_id in data.corpus:
        yield from hash_item(data.corpus.item(doc_id), with_text=True)


def hash_item(item: Item, *, with_text: bool) -> list[int]:
    """Return the hashes of an item's images, and of its text if it has one and `with_text`."""
    keys = [hash_image(image) for image in item.images]
    return [*keys, hash_text(item.text)] if with_text and normalize_text(item.text) else keys


class Dropped(Model):
    """What was left out because it is test data; `hits` counts, for each task, the items that are also its own."""

    groups: int
    positives: int
    negatives: int
    hits: dict[str, int]


def sum_dropped(parts: Iterable[Dropped]) -> Dropped:
    """Return the counts of several files together, tasks sorted."""
    found: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    for part in parts:
        found.update(part.model_dump(exclude={"hits"}))
        hits.update(part.hits)
    return make_dropped(found, dict(sorted(hits.items())))


def make_dropped(counts: Counter[str], hits: dict[str, int]) -> Dropped:
    """Return the counts of groups, positives and negatives, and of hits by task."""
    groups, positives, negatives = (counts[name] for name in ("groups", "positives", "negatives"))
    return Dropped(groups=groups, positives=positives, negatives=negatives, hits=hits)


def format_dropped(dropped: Dropped) -> str:
    """Return what was left out as a line."""
    where = ", ".join(f"{task} {count}" for task, count in sorted(dropped.hits.items())) or "none"
    counts = (format_count(getattr(dropped, f"{noun}s"), noun) for noun in ("group", "positive", "negative"))
    return f"  in test data (left out): {', '.join(counts)}; by task: {where}"


def is_lost(positives: int, negatives: int, lost_negatives: int) -> bool:
    """Return whether a group that keeps so many documents is dropped: it has no positive, or lost its last negative."""
    return not positives or bool(lost_negatives and not negatives)


class Checker:
    """Removes test data from groups, and counts it."""

    def __init__(self, index: HeldOutIndex) -> None:
        self.index = index
        self._counts: Counter[str] = Counter()
        self._hits: Counter[str] = Counter()
        self._known: dict[str, list[str]] = {}

    @property
    def dropped(self) -> Dropped:
        """What has been removed so far."""
        return make_dropped(self._counts, dict(self._hits))

    def clean(self, group: TrainingGroup) -> TrainingGroup | None:
        """Return the group without colliding documents, itself if there are none; None if `is_lost`."""
        query = self._find_tasks(group.query, with_text=not group.query.item.images)
        positives = [one for one in group.positives if not self._find_tasks(one, with_text=True)]
        negatives = [one for one in group.negatives if not self._find_tasks(one, with_text=True)]
        lost = len(group.positives) - len(positives), len(group.negatives) - len(negatives)
        self._counts.update(positives=lost[0], negatives=lost[1])
        if query or is_lost(len(positives), len(negatives), lost[1]):
            self._counts["groups"] += 1
            return None
        return replace(group, positives=positives, negatives=negatives) if any(lost) else group

    def _find_tasks(self, one: TrainingItem, *, with_text: bool) -> list[str]:
        key = f"{with_text}{one.item.content_hash}"
        if key not in self._known:
            if len(self._known) >= ITEMS_KEPT:
                self._known.clear()
            found = self.index.find_tasks(hash_item(one.item, with_text=with_text))
            self._known[key] = sorted(set(chain.from_iterable(found.values())))
        self._hits.update(self._known[key])
        return self._known[key]


ITEMS_KEPT = 200_000
"""Number of items whose result is cached: negatives recur."""
