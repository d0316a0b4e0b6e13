"""Differences between models: interval, p value, p value corrected for several differences, and ranks.

This is the only significance procedure of MRB: a wild cluster bootstrap with the null hypothesis imposed (Cameron,
Gelbach and Miller, Review of Economics and Statistics 90, 2008). Interval and p value are the same test: the interval
holds the differences that the test does not reject, so it excludes zero exactly if p < 0.05. With one task and no
clusters the p value is that of Fisher's sign-flip test. `docs/scoring.md` defines every step and
`benchmarks/significance.py` measures level, power and coverage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

from mrb._util.hashing import hash_json
from mrb.metrics.aggregation import group_rows_by_part
from mrb.metrics.resampling import round_to_grid, sum_with_random_signs
from mrb.metrics.statistics import Average, TaskSample, sort_samples, sum_units

Float64 = npt.NDArray[np.float64]
Pair = tuple[int, int]

ALPHA = 0.05
FLIPS = 9999
_BORDER = math.ceil(ALPHA * (FLIPS + 1)) - 1
"""A difference is not rejected if at least this number of flips is as extreme."""
_Z = 1.959963984540054
_SKEW = (2 * _Z**2 + 1) / (6 * _Z)
_ROUNDING = 1e-9  # relative: values that are equal in theory count as equal
_NOTHING = 1e-12


@dataclass(frozen=True)
class Difference:
    """A difference of means (fractions), its 95 % interval, and the two-sided p value.

    `low` and `high` have the same sign exactly if `p` < 0.05. `p_corrected` accounts for all differences that were
    tested together.
    """

    difference: float
    low: float
    high: float
    p: float
    p_corrected: float


@dataclass(frozen=True)
class RankBounds:
    """Best and worst rank of a model, from 1.

    `best` is 1 + the number of models that are significantly better, `worst` is the number of models minus those that
    are significantly worse.
    """

    best: int
    worst: int

    def __str__(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"


@dataclass(frozen=True)
class _Stratum:
    """One task, or one part of a task, whose units (queries or clusters) are resampled on their own.

    `share` is its weight in the task's score, `means` float64[m] its means. `flipped` float64[m, FLIPS] has the sums
    of the units' deviations from the mean with random signs, and `flipped_sizes` float64[FLIPS] those of the units'
    shares of the queries. `squares[i, j]` and `cubes[i, j]` are sums of powers of the deviations of model j minus i.
    """

    task_id: str
    type: str
    share: float
    units: int
    means: Float64
    flipped: Float64
    flipped_sizes: Float64
    squares: Float64
    cubes: Float64


@dataclass(frozen=True)
class _Contrast:
    """A difference and its distribution if the true difference were another one.

    If it were `difference - x`, the flipped differences would be `noise + x * pull`, float64[FLIPS]. `skew` is the
    skewness of the difference's error.
    """

    difference: float
    noise: Float64
    pull: Float64
    skew: float

    def stretch(self, side: float) -> float:
        """Return the factor by which the interval is longer towards `side` (1: below the difference, -1: above).

        The error of a mean is skewed as its values are. An interval that ignores this is too short towards the long
        tail of the values, by this factor to second order (Johnson, JASA 73, 1978). The other end stays as it is.
        """
        return 1.0 + _SKEW * max(0.0, -self.skew * side)

    def flip(self) -> tuple[float, Float64]:
        """Return the studentised difference (absolute), and its flips under the hypothesis of no difference."""
        size = self.difference / self.stretch(math.copysign(1.0, self.difference))
        flips = np.abs(self.noise + size * self.pull)
        spread = math.sqrt(float(np.mean(flips * flips))) or 1.0
        return abs(size) / spread * (1 - _ROUNDING), flips / spread

    def reach(self, side: float) -> float:
        """Return how far the interval reaches from the difference towards `side`; infinite if nothing is rejected."""
        ends = np.full(FLIPS, np.inf)
        bound = 1 - side * np.sign(self.noise) * self.pull
        np.divide(np.abs(self.noise), bound, out=ends, where=np.abs(self.pull) < 1 - _ROUNDING)
        return self.stretch(side) * float(np.partition(ends, FLIPS - _BORDER)[FLIPS - _BORDER])


class PairedTests:
    """Tests of all differences between models on the same queries.

    The result for two models does not depend on the other models, and swapping them only changes the sign.
    """

    def __init__(self, samples: Sequence[TaskSample]) -> None:
        """Flip the signs of all units; a column of `samples` is a model.

        Uses 80 kB for each model and task. Values must be fractions.

        Raises:
            ValueError: There are no tasks, a task is given twice, or a value is not finite.
        """
        self._strata = [stratum for sample in sort_samples(samples) for stratum in _make_strata(sample)]
        self._models = samples[0].values.shape[1]

    def test_average(self, average: Average, pairs: Sequence[Pair] | None = None) -> dict[Pair, Difference]:
        """Return the differences of an average over tasks, by pair (i, j): the mean of column j minus that of i.

        Args:
            average: The mean over tasks, or over types of the mean over each type's tasks.
            pairs: The pairs to test, which p values are corrected for; all pairs i < j if None.
        """
        types = {stratum.task_id: stratum.type for stratum in self._strata}
        kinds = list(types.values())
        counts = {kind: len(kinds) if average == "tasks" else len(set(kinds)) * kinds.count(kind) for kind in kinds}
        weights = [stratum.share / counts[stratum.type] for stratum in self._strata]
        chosen = list(combinations(range(self._models), 2)) if pairs is None else list(pairs)
        found = _test([partial(_make_contrast, self._strata, weights, pair) for pair in chosen])
        return dict(zip(chosen, found, strict=True))

    def test_tasks(self, pair: Pair) -> dict[str, Difference]:
        """Return one pair's difference on each task, corrected for the number of tasks."""
        tasks: dict[str, list[_Stratum]] = {}
        for stratum in self._strata:
            tasks.setdefault(stratum.task_id, []).append(stratum)
        makers = [partial(_make_contrast, own, [stratum.share for stratum in own], pair) for own in tasks.values()]
        return dict(zip(tasks, _test(makers), strict=True))


def bound_ranks(models: int, tests: Mapping[Pair, Difference]) -> tuple[RankBounds, ...]:
    """Return the rank bounds of each model from the corrected p values of all pairs."""
    best, worst = [1] * models, [models] * models
    for (i, j), test in tests.items():
        if test.p_corrected < ALPHA:
            better, worse = (j, i) if test.difference > 0 else (i, j)
            best[worse] += 1
            worst[better] -= 1
    return tuple(map(RankBounds, best, worst))


def _make_strata(sample: TaskSample) -> list[_Stratum]:
    if sample.parts is None:
        return [_make_stratum(sample, "", np.arange(len(sample.values)), 1.0)]
    if len(sample.parts) != len(sample.values):
        raise ValueError(f"{len(sample.parts)} parts for {len(sample.values)} values")
    rows = group_rows_by_part(sample.parts)
    return [_make_stratum(sample, part, of_part, 1 / len(rows)) for part, of_part in rows.items()]


def _make_stratum(sample: TaskSample, part: str, rows: npt.NDArray[np.int64], share: float) -> _Stratum:
    clusters = None if sample.clusters is None else [sample.clusters[row] for row in rows.tolist()]
    sums, sizes = sum_units(sample.values[rows], clusters)
    units, models = sums.shape
    means = np.array([math.fsum(column) for column in sample.values[rows].T]) / len(rows)
    # One unit shows no spread: its whole value counts as deviation.
    deviations = (sums - means * sizes[:, np.newaxis] * (units > 1)) / len(rows)
    # Each column has its own grid, so that a pair does not depend on other models.
    grids = [round_to_grid(column[:, np.newaxis]) for column in deviations.T]
    table = np.column_stack([*(whole for whole, _ in grids), sizes])
    steps = np.array([*(step for _, step in grids), 1 / len(rows)])
    seed = int(hash_json(["mrb-sign-flip-v2", sample.task_id, part])[:16], 16)
    flipped = np.ascontiguousarray(sum_with_random_signs(table, seed, FLIPS).T) * steps[:, np.newaxis]
    squares, cubes = np.zeros((models, models)), np.zeros((models, models))
    for i in range(models):
        apart = deviations - deviations[:, [i]]
        powers = apart * apart
        squares[i] = powers.sum(axis=0)
        cubes[i] = np.multiply(powers, apart, out=powers).sum(axis=0)
    return _Stratum(sample.task_id, sample.type, share, units, means, flipped[:-1], flipped[-1], squares, cubes)


def _make_contrast(strata: Sequence[_Stratum], weights: Sequence[float], pair: Pair) -> _Contrast:
    """Return the difference of model j minus model i, where stratum t has the weight `weights[t]`."""
    i, j = pair
    count = len(strata)
    difference = math.fsum(w * float(s.means[j] - s.means[i]) for w, s in zip(weights, strata, strict=True))
    # Deviations from a stratum's own mean are too small by sqrt((u - 1) / u). The pull gives back the freedom of one
    # mean, of which each stratum gets its share. A single unit has no own mean, unless there is nothing else.
    scales = [
        w * (math.sqrt((s.units - 1 / count) / (s.units - 1)) if s.units > 1 else float(count > 1))
        for w, s in zip(weights, strata, strict=True)
    ]
    variances = [scale**2 * float(s.squares[i, j]) for scale, s in zip(scales, strata, strict=True)]
    variance = math.fsum(variances)
    if variance <= _NOTHING**2 and abs(difference) <= _NOTHING:
        return _Contrast(0.0, np.zeros(FLIPS), np.zeros(FLIPS), 0.0)
    # The hypothesis says what the average is, not the tasks. The likeliest tasks' means with this average are the
    # observed ones, moved in proportion to their variance.
    free = [s.units > 1 or count == 1 for s in strata]
    moves = [v * own for v, own in zip(variances, free, strict=True)]
    if math.fsum(moves) <= _NOTHING**2:
        moves = [w * own for w, own in zip(weights, free, strict=True)]
    total = math.fsum(moves) or 1.0
    noise, pull = np.zeros(FLIPS), np.zeros(FLIPS)
    for scale, move, s in zip(scales, moves, strata, strict=True):
        noise += scale * (s.flipped[j] - s.flipped[i])
        if move:
            pull += move / total * s.flipped_sizes
    third = math.fsum(scale**3 * float(s.cubes[i, j]) for scale, s in zip(scales, strata, strict=True))
    return _Contrast(difference, noise, pull, third / variance**1.5 if variance > _NOTHING**2 else 0.0)


def _test(makers: Sequence[Callable[[], _Contrast]]) -> list[Difference]:
    """Test the contrasts, and correct their p values by a step-down maximum statistic (Westfall and Young 1993).

    Each contrast is made twice, because keeping them would take 160 kB a pair.
    """
    tests = [_invert(make()) for make in makers]
    order = sorted(range(len(tests)), key=lambda k: tests[k][0])
    # Step down: the largest difference is compared with the largest of all, the next with the largest of the rest.
    largest = np.zeros(FLIPS)
    corrected = [1.0] * len(tests)
    for k in order:
        np.maximum(largest, makers[k]().flip()[1], out=largest)
        corrected[k] = _compute_p_value(largest, tests[k][0])
    for smaller, larger in pairwise(reversed(order)):
        corrected[larger] = max(corrected[larger], corrected[smaller])
    return [replace(test, p_corrected=p) for (_, test), p in zip(tests, corrected, strict=True)]


def _invert(contrast: _Contrast) -> tuple[float, Difference]:
    """Return the studentised difference (absolute), and the difference with interval and p value."""
    size, flips = contrast.flip()
    p = _compute_p_value(flips, size)
    difference, ends = contrast.difference, [contrast.reach(side) for side in (1.0, -1.0)]
    own = 0 if difference > 0 else 1
    # Where flips tie with the difference, rounding must not put the end on the other side of zero.
    ends[own] = max(ends[own], abs(difference)) if p >= ALPHA else min(ends[own], abs(difference) * (1 - _ROUNDING))
    # Fractions differ by at most 1: an end without a bound is there.
    low = max(difference - ends[0], min(-1.0, difference))
    high = min(difference + ends[1], max(1.0, difference))
    return size, Difference(difference, low, high, p, p)


def _compute_p_value(flips: Float64, size: float) -> float:
    return (1 + int(np.count_nonzero(flips >= size))) / (1 + FLIPS)
