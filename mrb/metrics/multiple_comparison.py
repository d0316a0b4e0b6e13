"""Rank groups of many models by one maximum statistic over all pairs: more models need no more permutations.

`mrb.metrics.statistics.rank_groups` corrects single tests (Holm) and needs more sign flips the more pairs there are:
right for a few runs, too slow for a board. Here one distribution serves all pairs (Westfall and Young, Resampling-Based
Multiple Testing, 1993, single-step maximum). The signs of all units are flipped together. A pair is separated if its
difference, divided by the spread of its own differences, exceeds the largest one of any pair in all but 5 % of the
flips. The probability that any two equal models are separated is at most 5 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mrb._util.hashing import sha256_json
from mrb.metrics.resampling import flipped_sums, on_grid
from mrb.metrics.statistics import FLIPS, Average, RankGroup, TaskSample, contributions

Float64 = npt.NDArray[np.float64]
ALPHA = 0.05
MANY = 200
"""Above this number of models a fifth of the flips is used, for speed: the level of the test does not depend on it."""


def separated(sums: Float64, seed: int, *, alpha: float = ALPHA, flips: int = FLIPS) -> npt.NDArray[np.bool_]:
    """Test all pairs of models and return which differ significantly after correction: bool[m, m], symmetric.

    Args:
        sums: float64[units, m], the contribution of each unit to each model's mean (`contributions`).
        seed: Seed of the sign flips.
        alpha: Significance level over all pairs.
        flips: Number of random sign flips.
    """
    whole, _ = on_grid(sums) if np.any(sums) else (sums, 1.0)
    count = whole.shape[1]
    # Sign flips do not change the spread of a pair's differences, so it is computed once.
    spread = np.sqrt(np.array([((whole - whole[:, [column]]) ** 2).sum(axis=0) for column in range(count)]))
    scale = np.where(spread > 0, spread, np.inf)
    means = whole.sum(axis=0)
    observed = np.abs(means[:, np.newaxis] - means) / scale
    flipped, largest = flipped_sums(whole, seed, flips), np.zeros(flips)
    for column in range(count - 1):
        beside = np.abs(flipped[:, column + 1 :] - flipped[:, [column]]) / scale[column, column + 1 :]
        np.maximum(largest, beside.max(axis=1), out=largest)
    ranked = np.sort(largest)
    as_extreme = flips - np.searchsorted(ranked, observed * (1 - 1e-12), side="left")
    return np.asarray((1 + as_extreme) / (1 + flips) <= alpha)


def rank_groups(
    models: Sequence[str], samples: Sequence[TaskSample], *, average: Average = "types", flips: int | None = None
) -> tuple[RankGroup, ...]:
    """Return the models in groups that share a rank, best first.

    A new group begins only where every model above is separated from every model below.

    Args:
        models: Names of the models, in the order of the columns of `samples`.
        samples: The values of each task.
        average: The average to rank by, over tasks or over types.
        flips: Number of random sign flips; chosen by the number of models if None.
    """
    sums = contributions(samples, average)
    seed = int(sha256_json(["mrb-ranks-v1", *sorted(sample.task_id for sample in samples)])[:16], 16)
    apart = separated(sums, seed, flips=flips or (FLIPS if len(models) <= MANY else FLIPS // 5))
    means = sums.sum(axis=0)
    order = sorted(range(len(models)), key=lambda i: (-means[i], models[i]))
    begins = [k for k in range(1, len(order)) if apart[np.ix_(order[:k], order[k:])].all()]
    return tuple(
        RankGroup(begin + 1, tuple(models[i] for i in order[begin:end]))
        for begin, end in pairwise([0, *begins, len(order)])
    )
