"""The contract of a first stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mrb.data.items import Item
from mrb.data.task_data import TaskData

Float32 = npt.NDArray[np.float32]
Found = tuple[str, list[str], Float32]


class Retriever(Protocol):
    """A first stage: any object with this one method. Installed ones are found by the entry-point group
    `mrb.retrievers`; `docs/first-stages.md` is the guide.

    Optional: `covers(data)`, whether it has anything to say about a task; one that has not is left out where several
    are fused.
    """

    def search(self, data: TaskData, depth: int) -> Iterator[Found]:
        """(query id, at most `depth` document ids best first, their float32 scores) for every query of `data.queries`,
        in that order.

        Scores are finite and never rise. Equal scores stand in the order of `mrb._util.hashing.tie_hash`, which
        `best_first` sees to. A list may be shorter than `depth`, or empty: a first stage names only what it found. It
        may read `data.side` and must never read `data.qrels`.
        """
        ...


class Encoder(Protocol):
    """A first stage that makes vectors; `mrb.retrieval.dense` keeps and searches them.

    Optional attributes: `batch_size` (items a call, 32), `shard_rows` (vectors that a killed command may have to make
    again, 4,096), `needs_images` (left out of a fusion where neither queries nor documents have any), `version`
    (bumped when vectors change), `revision` (of the weights) and `dtype`; the last three are recorded, and a change of
    one encodes again. `close()` is called at the end.
    """

    def encode_queries(self, items: Sequence[Item], instruction: str) -> Float32:
        """(n, width) finite floats, a row an item; `instruction` is the task's. The score is the inner product."""
        ...

    def encode_documents(self, items: Sequence[Item]) -> Float32:
        """(n, width) finite floats, a row an item."""
        ...
