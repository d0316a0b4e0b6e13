"""The contract of a first stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mrb.loading.data import TaskData

Float32 = npt.NDArray[np.float32]
Found = tuple[str, list[str], Float32]


class Retriever(Protocol):
    """A first stage: any object with this one method. Installed ones are found by the entry-point group
    `mrb.retrievers`; `docs/first-stages.md` is the guide.
    """

    def search(self, data: TaskData, depth: int) -> Iterator[Found]:
        """(query id, at most `depth` document ids best first, their float32 scores) for every query of `data.queries`,
        in that order.

        Scores are finite and never rise. Equal scores stand in the order of `mrb.hashing.tie_hash`, which `best_first`
        sees to. A list may be shorter than `depth`, or empty: a first stage names only what it found. It may read
        `data.side` and must never read `data.qrels`.
        """
        ...
