"""What the parts learn from: training splits of the mini suite, without what is also test or development data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mrb.data.items import ImageHandle
from mrb.data.load import load_task_data
from mrb.data.task import load_task
from mrb.data.task_data import TaskData
from mrb.training.data.contamination import HeldOutIndex, list_held_out, load_held_out
from mrb.training.data.likeness import hash_image, hash_text


@dataclass
class HeldOut:
    """Test data of all that is no training split and lies on this disk. Counts what it met, by task."""

    index: HeldOutIndex = field(default_factory=lambda: load_held_out(list_held_out()))
    hits: Counter[str] = field(default_factory=Counter)

    def has_image(self, image: ImageHandle) -> bool:
        """Return whether an image is that of test data, by its pixels."""
        return self._is_held_out([hash_image(image)])

    def has_text(self, text: str) -> bool:
        """Return whether a text is the whole of test data."""
        return self._is_held_out([hash_text(text)])

    def _is_held_out(self, keys: list[int]) -> bool:
        found = {task for tasks in self.index.find_tasks(keys).values() for task in tasks}
        self.hits.update(found)
        return bool(found)


def load_split(name: str) -> TaskData:
    """Return the training split of a task of the mini suite, such as "emoji-i2i"."""
    return load_task_data(load_task(f"mini-{name}-train"))


def list_texts(name: str, held_out: HeldOut) -> list[str]:
    """Return the texts of queries and documents of a training split."""
    data = load_split(name)
    items = [table.item(key) for table in (data.queries, data.corpus) for key in table]
    return [item.text for item in items if item.text and not held_out.has_text(item.text)]
