"""`--allow-failures N` of first stages: leave out up to N queries and documents of a task that cannot be encoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field, replace

import numpy as np

from mrb.candidates.self_matches import RankedList
from mrb.data.task_data import ItemTable, TaskData
from mrb.errors import DataError, MRBError
from mrb.rerankers.declaration import read_max_images
from mrb.retrieval.fusion import covers_task
from mrb.retrieval.retriever import Retriever
from mrb.retrieval.shards import Kind


@dataclass
class Failures:
    """The items of the current task that could not be encoded, by kind; at most `allowed`."""

    allowed: int = 0
    items: dict[str, list[str]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of failed items."""
        return sum(len(ids) for ids in self.items.values())

    def add(self, kind: Kind, item_id: str, error: MRBError) -> None:
        """Count an item that failed with `error`. Raise `error`, with the count, if more than `allowed` have failed."""
        ids = self.items.setdefault(kind, [])
        if item_id not in ids:
            ids.append(item_id)
        if self.count > self.allowed:
            raise type(error)(f"{error} (failed items: {self.count}, allowed: {self.allowed})") from error


class ImageFilter:
    """A wrapper that leaves items with damaged images out of a retriever's search. It decodes every image first."""

    def __init__(self, retriever: Retriever, failures: Failures) -> None:
        self.retriever = retriever
        self.failures = failures

    @property
    def max_images(self) -> int | None:
        """How many images of one item the wrapped retriever takes; None for any number."""
        return read_max_images(type(self.retriever).__name__, self.retriever)

    def covers(self, data: TaskData) -> bool:
        """Return whether the wrapped retriever covers the task."""
        return covers_task(self.retriever, data)

    def search(self, data: TaskData, depth: int) -> Iterator[RankedList]:
        """Search without damaged items: damaged documents are in no list, damaged queries have empty lists."""
        queries, corpus = self._drop_damaged("queries", data.queries), self._drop_damaged("documents", data.corpus)
        lost = data.queries.rows.keys() - queries.rows.keys()
        return add_empty_lists(
            data.queries, lost, self.retriever.search(replace(data, queries=queries, corpus=corpus), depth)
        )

    def _drop_damaged(self, kind: Kind, table: ItemTable) -> ItemTable:
        """Return the table without its damaged items, or the same object if there are none."""
        damaged = set()
        for item_id in table if table.has_images else ():
            try:
                for image in table.item(item_id).images:
                    image.open()
            except DataError as error:
                self.failures.add(kind, item_id, error)
                damaged.add(item_id)
        if not damaged:
            return table
        return replace(table, rows={item_id: row for item_id, row in table.rows.items() if item_id not in damaged})


def add_empty_lists(query_ids: Iterable[str], lost: Set[str], found: Iterator[RankedList]) -> Iterator[RankedList]:
    """Yield the results of a search with an empty list for each lost query, in the order of `query_ids`."""
    for query_id in query_ids:
        if query_id in lost:
            yield query_id, [], np.empty(0, np.float32)
        elif (answer := next(found, None)) is not None:
            yield answer
    yield from found
