"""A reranker that tells no candidates of a task apart: named, because such results are easily taken for bad ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from mrb.results.schema import RerankerInfo

MOST = 0.95
"""The share of a task's queries from which on it is named."""


def tied_share(scores: Iterable[Iterable[float]]) -> float:
    """The share of queries whose candidates all have the same score, of those with two scored candidates or more; 0
    where there are none."""
    tied = []
    for of_query in scores:
        values = np.fromiter(of_query, np.float32)
        values = values[~np.isnan(values)]
        if len(values) > 1:
            tied.append(bool((values == values[0]).all()))
    return sum(tied) / len(tied) if tied else 0.0


def tie_warning(info: RerankerInfo, shares: Mapping[str, float]) -> str | None:
    """One line for all tasks (id -> `tied_share`) in which nearly all queries are tied; None where there are none."""
    named = [task_id for task_id, share in shares.items() if share >= MOST]
    if not named:
        return None
    least, tasks = math.floor(100 * min(shares[task_id] for task_id in named)), ", ".join(named)
    return (
        f"warning: {info.name} tied all candidates in {least} % of queries of: {tasks}; chance decides there. "
        f"If it does not use all that it is shown ({', '.join(info.inputs)}), declare its inputs, as in "
        'inputs = ("text",)'
    )
