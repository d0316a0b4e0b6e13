"""The weight of each query in the score of its task. All code that averages over queries uses this module.

In most tasks all queries have the same weight. If the task's rules say `average_over_parts` (CQADupStack: twelve
forums), all parts have the same weight: the score is the mean over parts of the mean over each part's queries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


def group_rows_by_part(parts: Sequence[str]) -> dict[str, Int64]:
    """Return the row numbers of each part that occurs in `parts`, sorted by the part's name."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(parts):
        rows.setdefault(name, []).append(row)
    return {name: np.array(rows[name], dtype=np.int64) for name in sorted(rows)}


def average_queries(values: Float64, parts: Sequence[str] | None) -> Float64:
    """Return the task's score for values per query: float64[] for float64[n], float64[m] for float64[n, m].

    With `parts` it is the mean of the parts' means, not a weighted mean, so that the mean of ones is exactly one.
    """
    if parts is None:
        return np.asarray(values.mean(axis=0))
    return np.asarray(np.mean([values[rows].mean(axis=0) for rows in group_rows_by_part(parts).values()], axis=0))
