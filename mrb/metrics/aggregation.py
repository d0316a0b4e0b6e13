"""How much each query counts in the score of its task. No other place decides it.

In most tasks all queries count alike. Where the rules say `average_over_parts` (CQADupStack: twelve forums) every part
does, however many queries it has: the score is the mean over parts of the means over their queries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mrb.errors import DataError

if TYPE_CHECKING:
    from mrb.data.task import Task

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


def parts_of(task: Task, query_ids: Iterable[str]) -> tuple[str, ...] | None:
    """The part of each query (ids are `part/id`) where the task's score is the mean over parts, None where it is the
    mean over queries. DataError for an id of none of the task's parts."""
    if not task.rules.average_over_parts:
        return None
    known = {part.name for part in task.source.parts}
    found = []
    for query_id in query_ids:
        name = query_id.partition("/")[0]
        if name not in known:
            raise DataError(f"task {task.id}: query {query_id!r} belongs to none of its {len(known)} parts")
        found.append(name)
    return tuple(found)


def rows_by_part(parts: Sequence[str]) -> dict[str, Int64]:
    """The rows of each part that has any, parts by name, rows in order."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(parts):
        rows.setdefault(name, []).append(row)
    return {name: np.array(rows[name], dtype=np.int64) for name in sorted(rows)}


def query_weights(parts: Sequence[str] | None, count: int) -> Float64:
    """What each of `count` queries' value is multiplied by so that the plain mean of all is the score: float64[count].

    1 where queries count alike, else count / (parts x queries of its part). Their sum is `count`.
    """
    weights = np.ones(count)
    if parts is not None:
        groups = rows_by_part(parts)
        for rows in groups.values():
            weights[rows] = count / (len(groups) * len(rows))
    return weights


def task_mean(values: Float64, parts: Sequence[str] | None) -> Float64:
    """The score of `values` (float64[n], or float64[n, m] for m columns): float64[] or float64[m].

    Divided part by part, not weighted: the mean of ones is exactly one.
    """
    if parts is None:
        return np.asarray(values.mean(axis=0))
    return np.asarray(np.mean([values[rows].mean(axis=0) for rows in rows_by_part(parts).values()], axis=0))
