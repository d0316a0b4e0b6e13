"""Check training data against test data: no query of a test, and no document that answers one, is trained on.

Every task whose data is on this disk is hashed, texts in a normal form and images by pixels; all others are "unknown".
Test data are a task's queries and the documents that its queries judge relevant. An item collides if its image is one
of theirs, or if its text is the whole of such an item or the text of such a document. The text that a test query has
besides its image is not compared: it is often one question asked about many images. The other documents of a task are
not test data, as training and test may share one corpus: they are counted where they are trained on.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mrb._util.files import write_array
from mrb._util.format import format_count
from mrb._util.hashing import hash_bytes, hash_json
from mrb._util.model import Model
from mrb.data.items import Item
from mrb.data.load import load_task_data
from mrb.data.pull_data import is_local
from mrb.data.task import Task, list_suites, list_tasks
from mrb.data.task_data import TaskData
from mrb.errors import DataError
from mrb.hub.manifest import find_cache_root
from mrb.training.data.group import TrainingGroup, TrainingItem
from mrb.training.data.likeness import hash_image, hash_text, normalize_text

logger = logging.getLogger(__name__)

Keys = npt.NDArray[np.uint64]
LAYOUT = 2
"""Part of a cached file's name: incremented when the definition of a collision changes."""
TRAINING_SUITE = "-train"


@dataclass(frozen=True)
class HeldOutIndex:
    """Hashes of test items by task, sorted, and the tasks whose data is not on this disk.

    `keys` are those of test data, `unjudged` those of the documents that no query of the task judges relevant.
    """

    keys: dict[str, Keys]
    unknown: tuple[str, ...]
    unjudged: dict[str, Keys] = field(default_factory=dict)

    @cached_property
    def identities(self) -> dict[str, str]:
        """SHA-256 over the hashes of each task."""
        tables = self.keys, self.unjudged
        return {
            task: hash_json([LAYOUT, *(hash_bytes(one[task].tobytes()) for one in tables if task in one)])
            for task in sorted(self.keys)
        }

    @cached_property
    def identity(self) -> str:
        """SHA-256 over all of it: a file checked against the same index needs no second check."""
        return hash_json([LAYOUT, self.identities])

    def shares(self, task: str, keys: Keys) -> bool:
        """Return whether any of `keys` is of a task, of its test data or of its other documents."""
        return any(_find_tasks({task: one[task]}, keys) for one in (self.keys, self.unjudged) if task in one)

    def find_tasks(self, keys: Sequence[int] | Keys) -> dict[int, list[str]]:
        """Return the tasks of whose test data a key is, sorted, for those of `keys` that are of any task."""
        return _find_tasks(self.keys, keys)

    def find_unjudged(self, keys: Sequence[int] | Keys) -> dict[int, list[str]]:
        """Like `find_tasks`, of the documents that no query of the task judges relevant."""
        return _find_tasks(self.unjudged, keys)


def _find_tasks(index: Mapping[str, Keys], keys: Sequence[int] | Keys) -> dict[int, list[str]]:
    wanted = np.unique(np.asarray(keys, np.uint64))
    found: dict[int, list[str]] = {}
    for task, own in sorted(index.items()):  # a task's keys are sorted
        if len(own):
            for key in wanted[own.take(np.searchsorted(own, wanted), mode="clip") == wanted].tolist():
                found.setdefault(key, []).append(task)
    return found


def merge_tasks(keys: Iterable[int], found: Mapping[int, list[str]]) -> list[str]:
    """Return the tasks that were found for any of an item's keys, sorted."""
    return sorted({task for key in keys for task in found.get(key, ())})


def list_held_out() -> list[Task]:
    """Return every defined task except the splits made for training (suites named `...-train`)."""
    training = {task_id for suite in list_suites() if suite.id.endswith(TRAINING_SUITE) for task_id in suite.tasks}
    return [task for task in list_tasks() if task.id not in training]


def load_held_out(tasks: Iterable[Task]) -> HeldOutIndex:
    """Return the index of `tasks`; a task's hashes are kept in MRB's cache. Logs before a task is hashed."""
    index, unknown = HeldOutIndex({}, ()), []
    for task in tasks:
        if is_local(task):
            index.keys[task.id], index.unjudged[task.id] = _load_keys(task)
        else:
            unknown.append(task.id)
    return replace(index, unknown=tuple(unknown))


def _load_keys(task: Task) -> tuple[Keys, Keys]:
    """Return the hashes of a task's test data, and of its other documents."""
    # The hash of a task does not say where in a repository its tables lie, which decides the rows that are hashed.
    key = hash_json([LAYOUT, task.hash, task.source.model_dump(mode="json")])
    folder = find_cache_root() / "contamination"
    paths = folder / f"{key}.npy", folder / f"{key}-unjudged.npy"
    if not all(path.is_file() for path in paths):
        logger.info(f"{task.id}: hashing its test items, once")
        data = load_task_data(task)
        keys = np.unique(np.fromiter(_hash_test_data(data), np.uint64))
        unjudged = np.setdiff1d(np.fromiter(_hash_unjudged(data), np.uint64), keys)
        for path, found in zip(paths, (keys, unjudged), strict=True):
            write_array(path, found)
    return _read_keys(paths[0]), _read_keys(paths[1])


def _read_keys(path: Path) -> Keys:
    try:
        found: Keys = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it") from error
    return found


def _hash_test_data(data: TaskData) -> Iterator[int]:
    for query_id in data.queries:
        item = data.queries.item(query_id)
        yield from hash_item(item, with_text=not item.images)
    for doc_id in _list_relevant(data):
        yield from hash_item(data.corpus.item(doc_id), with_text=True)


def _hash_unjudged(data: TaskData) -> Iterator[int]:
    relevant = _list_relevant(data)
    for doc_id in data.corpus:
        if doc_id not in relevant:
            yield from hash_item(data.corpus.item(doc_id), with_text=True)


def _list_relevant(data: TaskData) -> set[str]:
    return {doc_id for grades in data.qrels.values() for doc_id in grades}


def hash_item(item: Item, *, with_text: bool) -> list[int]:
    """Return the hashes of an item's images, and of its text if it has one and `with_text`."""
    keys = [hash_image(image) for image in item.images]
    return [*keys, hash_text(item.text)] if with_text and normalize_text(item.text) else keys


class Dropped(Model):
    """What was left out because it is test data; `hits` counts, for each task, the items that are also its own.

    `unjudged` counts the groups that stayed with documents of a task's corpus that none of its queries judges relevant;
    `unjudged_hits` does so for each task.
    """

    groups: int
    positives: int
    negatives: int
    hits: dict[str, int]
    unjudged: int = 0
    unjudged_hits: dict[str, int] = Field(default={})


def sum_dropped(parts: Iterable[Dropped]) -> Dropped:
    """Return the counts of several files together, tasks sorted."""
    counts: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    unjudged: Counter[str] = Counter()
    for part in parts:
        counts.update(part.model_dump(exclude={"hits", "unjudged_hits"}))
        hits.update(part.hits)
        unjudged.update(part.unjudged_hits)
    return make_dropped(counts, hits, unjudged)


def make_dropped(counts: Counter[str], hits: Mapping[str, int], unjudged: Mapping[str, int]) -> Dropped:
    """Return the record of these counts by name, of hits by task, and of groups with unjudged documents by task."""
    names = ("groups", "positives", "negatives", "unjudged")
    tables = {"hits": dict(sorted(hits.items())), "unjudged_hits": dict(sorted(unjudged.items()))}
    return Dropped(**{name: counts[name] for name in names}, **tables)


def format_dropped(dropped: Dropped) -> Iterator[str]:
    """Yield what was left out as a line, and another one if test corpora hold more of the data."""
    counts = (format_count(getattr(dropped, f"{noun}s"), noun) for noun in ("group", "positive", "negative"))
    yield f"  in test data (left out): {', '.join(counts)}; by task: {_format_hits(dropped.hits)}"
    if dropped.unjudged:
        yield f"  {format_unjudged(dropped)}; by task: {_format_hits(dropped.unjudged_hits)}"


def format_unjudged(dropped: Dropped) -> str:
    """Return how many groups use what lies in a test corpus but answers no test query."""
    groups = format_count(dropped.unjudged, "group")
    verb = "uses" if dropped.unjudged == 1 else "use"
    return f"{groups} {verb} documents of a test corpus that no test query judges relevant (kept)"


def _format_hits(hits: Mapping[str, int]) -> str:
    return ", ".join(f"{task} {count}" for task, count in sorted(hits.items())) or "none"


def is_lost(positives: int, negatives: int, lost_negatives: int) -> bool:
    """Return whether a group that keeps so many documents is dropped: it has no positive, or lost its last negative."""
    return not positives or bool(lost_negatives and not negatives)


class Checker:
    """Removes test data from groups, and counts it."""

    def __init__(self, index: HeldOutIndex) -> None:
        self.index = index
        self._counts: Counter[str] = Counter()
        self._hits: Counter[str] = Counter()
        self._unjudged: Counter[str] = Counter()
        self._known: dict[str, tuple[list[str], list[str]]] = {}

    @property
    def dropped(self) -> Dropped:
        """What has been removed so far."""
        return make_dropped(self._counts, self._hits, self._unjudged)

    def clean(self, group: TrainingGroup) -> TrainingGroup | None:
        """Return the group without colliding documents, itself if there are none; None if `is_lost`."""
        asked, *rest = group.items
        found = [self._find_tasks(asked, with_text=not asked.item.images)]
        found += [self._find_tasks(one, with_text=True) for one in rest]
        for tasks, _ in found:
            self._hits.update(tasks)
        count = 1 + len(group.positives)
        positives = [one for one, (tasks, _) in zip(group.positives, found[1:count], strict=True) if not tasks]
        negatives = [one for one, (tasks, _) in zip(group.negatives, found[count:], strict=True) if not tasks]
        lost = len(group.positives) - len(positives), len(group.negatives) - len(negatives)
        self._counts.update(positives=lost[0], negatives=lost[1])
        if found[0][0] or is_lost(len(positives), len(negatives), lost[1]):
            self._counts["groups"] += 1
            return None
        unjudged = {task for _, tasks in found for task in tasks}
        self._counts["unjudged"] += bool(unjudged)
        self._unjudged.update(unjudged)
        return replace(group, positives=positives, negatives=negatives) if any(lost) else group

    def _find_tasks(self, one: TrainingItem, *, with_text: bool) -> tuple[list[str], list[str]]:
        """Return the tasks whose test data an item is, and those that have it as an unjudged document."""
        key = f"{with_text}{one.item.content_hash}"
        if key not in self._known:
            if len(self._known) >= ITEMS_KEPT:
                self._known.clear()
            keys = hash_item(one.item, with_text=with_text)
            found = self.index.find_tasks(keys), self.index.find_unjudged(keys)
            self._known[key] = merge_tasks(keys, found[0]), merge_tasks(keys, found[1])
        return self._known[key]


ITEMS_KEPT = 200_000
"""Number of items whose result is cached: negatives recur."""
