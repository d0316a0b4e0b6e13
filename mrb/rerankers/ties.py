"""Warn about a reranker that gives all candidates the same score, which is easily mistaken for a bad result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from mrb.data.task import is_registered, load_task
from mrb.results.schema import RerankerInfo

MOST = 0.95
"""Smallest share of tied queries of a task that gives a warning."""


def compute_tied_share(scores: Iterable[Iterable[float]]) -> float:
    """Return the share of queries whose candidates all have the same score.

    Only queries with two or more scored candidates count; without any the share is 0.
    """
    tied = []
    for of_query in scores:
        values = np.fromiter(of_query, np.float32)
        values = values[~np.isnan(values)]
        if len(values) > 1:
            tied.append(bool((values == values[0]).all()))
    return sum(tied) / len(tied) if tied else 0.0


def format_tie_warning(info: RerankerInfo, shares: Mapping[str, float]) -> str | None:
    """Return one line that names the tasks with nearly all queries tied, or None. `shares` is {task id: tied share}."""
    named = [task_id for task_id, share in shares.items() if share >= MOST]
    if not named:
        return None
    least, tasks = math.floor(100 * min(shares[task_id] for task_id in named)), ", ".join(named)
    told = f"warning: {info.name} tied all candidates in {least} % of queries of: {tasks}; chance decides there"
    if info.source.startswith("mrb ") or not any(map(_may_show_images, named)):
        return told  # the user cannot declare the inputs of a shipped adapter, and no declaration excludes texts
    shown = info.inputs.format()
    return f'{told}. If it does not use all that it is shown ({shown}), declare its inputs, as in inputs = ("text",)'


def _may_show_images(task_id: str) -> bool:
    """Return whether items of a task have images; True for a task that is not in the registry."""
    return not is_registered(task_id) or load_task(task_id).type != "t2t"
