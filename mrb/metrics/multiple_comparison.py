"""Rank groups of many models by one paired test: a maximum over all pairs, so that more models need no more draws.

`mrb.metrics.statistics.rank_groups` corrects single tests (Holm), and must draw more signs the more pairs there are:
right for a handful of runs, too slow for a board. Here one distribution serves all pairs (Westfall and Young,
Resampling-Based Multiple Testing, 1993, the single-step maximum): signs of all units are flipped together, and a pair
is separated if its own difference, in units of its own spread, is larger than the largest of any pair in all but 5 % of
the draws. The chance that any two alike models are separated is at most that.
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
"""With more models fewer draws are enough: the test holds its level with any number of them."""


def separated(sums: Float64, seed: int, *, alpha: float = ALPHA, flips: int = FLIPS) -> npt.NDArray[np.bool_]:
    """Which columns of `sums` (float64[units, m], what each unit adds to each model's mean) a corrected paired test
    tells apart: bool[m, m], symmetric."""
    whole, _ = on_grid(sums) if np.any(sums) else (sums, 1.0)
    count = whole.shape[1]
    # The spread of a pair's differences is the same whatever their signs.
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
    """The models (the columns of `samples`) in groups that share a rank, best first: a group begins only where every
    model above is separated from every model below."""
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
