"""The contract of a first stage: `Retriever` searches by itself, `Encoder` returns vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mrb.candidates.self_matches import RankedList
from mrb.data.items import Item
from mrb.data.task_data import TaskData

Float32 = npt.NDArray[np.float32]


class Retriever(Protocol):
    """A first stage: any object with this one method. Installed ones are found by the entry-point group
    `mrb.retrievers`; `docs/first-stages.md` is the guide.

    Optional: `covers(data)` returns whether it covers a task; if it does not, it is left out of a fusion. `max_images`
    (default 1) is how many images of one query or document it takes, None for any number; tasks with more are refused.
    """

    def search(self, data: TaskData, depth: int) -> Iterator[RankedList]:
        """Yield the list of every query of `data.queries`, in that order.

        Args:
            data: The task's data. `data.side` may be read; `data.qrels` must never be read.
            depth: The largest number of documents per query.

        Returns:
            (query id, document ids, float32 scores) of each query. The scores are finite and descending, and ties are
            ordered by `mrb._util.hashing.compute_tie_hash`, as `select_top_k` does. A list may be shorter than `depth`.
        """
        ...


class Encoder(Protocol):
    """A first stage that encodes items to vectors; `mrb.retrieval.dense` stores and searches them.

    Optional attributes, and `close()`, which is called at the end:

    - `batch_size` (default 32): items per call;
    - `shard_rows` (default 4,096): vectors per shard, the most that a killed command must encode again;
    - `max_images`: as in `Retriever`;
    - `needs_images`: if true, it is left out of a fusion for tasks without images;
    - `version` (the author changes it when vectors change), `revision` (of the weights) and `dtype`: recorded; a change
      of one encodes again.
    """

    def encode_queries(self, items: Sequence[Item], instruction: str) -> Float32:
        """Return finite floats of shape (n, width), one row per item. `instruction` is the task's.

        The score of a pair is the inner product of its vectors.
        """
        ...

    def encode_documents(self, items: Sequence[Item]) -> Float32:
        """Return finite floats of shape (n, width), one row per item."""
        ...
