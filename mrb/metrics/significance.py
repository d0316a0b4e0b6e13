"""Differences between models: interval, p value, p value corrected for several differences, and ranks.

This is the only significance procedure of MRB: a wild cluster bootstrap with the null hypothesis imposed (Cameron,
Gelbach and Miller, Review of Economics and Statistics 90, 2008). Interval and p value are the same test: the interval
holds the differences that the test does not reject, so it excludes zero exactly if p < 0.05. With one task and no
clusters the p value is that of Fisher's sign-flip test. `docs/scoring.md` defines every step and
`benchmarks/significance.py` measures level, power and coverage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
_BLOCK = 64  # pairs whose pulls are in memory at a time
_GRID = 51  # binary places of a stratum's share in a pull


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

    `means` float64[m] are the models' means, and `flipped_sizes` float64[FLIPS] the sums of the units' numbers of
    queries with random signs. `squares[i, j]` and `cubes[i, j]` are sums of powers of the units' deviations from the
    mean, of model j minus i.
    """

    queries: int
    units: int
    means: Float64
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


class _Mean:
    """A weighted sum of independent strata: a task's score, or an average over tasks."""

    def __init__(self, strata: int, models: int) -> None:
        """Prepare the sum of this number of strata, for pairs of the first `models` models."""
        self._count = strata
        # Each model's flipped deviations: those of a difference are the difference of two rows.
        self._noise = np.zeros((models, FLIPS))
        self._added: list[tuple[_Stratum, float, float]] = []

    def add(self, stratum: _Stratum, weight: float, flipped: Float64) -> None:
        """Add a stratum; `flipped` float64[m, FLIPS] has the sums of each model's deviations with random signs."""
        # Deviations from a stratum's own mean are too small by sqrt((u - 1) / u). The pull gives back the freedom of
        # one mean, of which each stratum gets its share. A single unit has no own mean, unless there is nothing else.
        units, count = stratum.units, self._count
        scale = weight * (math.sqrt((units - 1 / count) / (units - 1)) if units > 1 else float(count > 1))
        for noise, own in zip(self._noise, flipped, strict=False):
            noise += scale * own
        self._added.append((stratum, weight, scale))

    def contrast(self, pairs: Sequence[Pair]) -> Iterator[_Contrast]:
        """Yield the difference of model j minus model i for each of the pairs (i, j)."""
        sizes = np.array([stratum.flipped_sizes for stratum, _, _ in self._added])
        queries = np.array([stratum.queries for stratum, _, _ in self._added])
        for start in range(0, len(pairs), _BLOCK):
            block = pairs[start : start + _BLOCK]
            found = self._measure(block)
            # On this grid the products and their sums are exact, so that the order of adding does not matter.
            shares = np.rint(np.ldexp([moves for _, moves, _, _ in found] / queries, _GRID))
            pulls = np.ldexp(shares @ sizes, -_GRID)
            for (i, j), (difference, _, skew, differ), pull in zip(block, found, pulls, strict=True):
                yield _Contrast(difference, (self._noise[j] - self._noise[i]) * differ, pull, skew)

    def _measure(self, pairs: Sequence[Pair]) -> list[tuple[float, list[float], float, bool]]:
        """Return each pair's difference, the share of the pull that each stratum has, the skewness, and whether the two
        models differ at all.
        """
        i, j = np.array(pairs).T
        gaps = [weight * (s.means[j] - s.means[i]) for s, weight, _ in self._added]
        squares = [scale**2 * s.squares[i, j] for s, _, scale in self._added]
        cubes = [scale**3 * s.cubes[i, j] for s, _, scale in self._added]
        free = [s.units > 1 or self._count == 1 for s, _, _ in self._added]
        found = []
        for gap, variances, thirds in zip(*(np.array(one).T.tolist() for one in (gaps, squares, cubes)), strict=True):
            difference, variance = math.fsum(gap), math.fsum(variances)
            difference = difference if abs(difference) > _NOTHING else 0.0
            if variance <= _NOTHING**2 and not difference:
                found.append((0.0, [0.0] * self._count, 0.0, False))
                continue
            # The hypothesis says what the average is, not the tasks. The likeliest tasks' means with this average are
            # the observed ones, moved in proportion to their variance.
            moves = [v * own for v, own in zip(variances, free, strict=True)]
            if math.fsum(moves) <= _NOTHING**2:
                moves = [weight * own for (_, weight, _), own in zip(self._added, free, strict=True)]
            total = math.fsum(moves) or 1.0
            skew = math.fsum(thirds) / variance**1.5 if variance > _NOTHING**2 else 0.0
            found.append((difference, [move / total for move in moves], skew, True))
        return found


class PairedTests:
    """Tests of all differences between models on the same queries.

    The result for two models does not depend on the other models, and swapping them only changes the sign.
    """

    def __init__(
        self,
        samples: Sequence[TaskSample],
        on_tasks: int | None = None,
        groups: Mapping[str, tuple[Average, Collection[str]]] | None = None,
    ) -> None:
        """Flip the signs of all units; a column of `samples` is a model.

        Args:
            samples: The values, which must be fractions.
            on_tasks: How many models, from the first, can be tested on single tasks, which takes 80 kB for each model
                and task; all of them if None.
            groups: More averages to test, by name: each over some of the tasks, given by id.

        Raises:
            ValueError: There are no tasks, a task is given twice, or a value is not finite.
        """
        ordered = sort_samples(samples)
        self._models = ordered[0].values.shape[1]
        parts = [_list_parts(sample) for sample in ordered]
        kinds = [sample.type for sample in ordered]
        members = {sample.task_id for sample in ordered}
        averages = {"tasks": ("tasks", members), "types": ("types", members), **(groups or {})}
        self._averages: dict[str, _Mean] = {}
        shares: dict[str, list[tuple[_Mean, int]]] = {sample.task_id: [] for sample in ordered}
        for name, (kind, ids) in averages.items():
            inside = [place for place, sample in enumerate(ordered) if sample.task_id in ids]
            mean = self._averages[name] = _Mean(sum(len(parts[place]) for place in inside), self._models)
            own = [kinds[place] for place in inside]
            for place in inside:
                count = len(own) if kind == "tasks" else len(set(own)) * own.count(kinds[place])
                shares[ordered[place].task_id].append((mean, count))
        self._tasks: dict[str, _Mean] = {}
        for sample, of_task in zip(ordered, parts, strict=True):
            task = _Mean(len(of_task), self._models if on_tasks is None else min(on_tasks, self._models))
            self._tasks[sample.task_id] = task
            share = 1 / len(of_task)
            for part, rows in of_task.items():
                stratum, flipped = _make_stratum(sample, part, rows)
                task.add(stratum, share, flipped)
                for mean, count in shares[sample.task_id]:
                    mean.add(stratum, share / count, flipped)

    def test_average(self, average: str, pairs: Sequence[Pair] | None = None) -> dict[Pair, Difference]:
        """Return the differences of an average over tasks, by pair (i, j): the mean of column j minus that of i.

        Args:
            average: "tasks", the mean over tasks; "types", the mean over types of the mean over each type's tasks; or
                the name of a group.
            pairs: The pairs to test, which p values are corrected for; all pairs i < j if None.
        """
        chosen = list(combinations(range(self._models), 2)) if pairs is None else list(pairs)
        mean = self._averages[average]
        found = _test_contrasts(len(chosen), lambda places: mean.contrast([chosen[place] for place in places]))
        return dict(zip(chosen, found, strict=True))

    def test_tasks(self, pair: Pair) -> dict[str, Difference]:
        """Return one pair's difference on each task, corrected for the number of tasks."""
        contrasts = [next(task.contrast([pair])) for task in self._tasks.values()]
        found = _test_contrasts(len(contrasts), lambda places: (contrasts[place] for place in places))
        return dict(zip(self._tasks, found, strict=True))


def bound_ranks(models: int, tests: Mapping[Pair, Difference]) -> tuple[RankBounds, ...]:
    """Return the rank bounds of each model from the corrected p values of all pairs."""
    best, worst = [1] * models, [models] * models
    for (i, j), test in tests.items():
        if test.p_corrected < ALPHA:
            better, worse = (j, i) if test.difference > 0 else (i, j)
            best[worse] += 1
            worst[better] -= 1
    return tuple(map(RankBounds, best, worst))


def _list_parts(sample: TaskSample) -> dict[str, npt.NDArray[np.int64]]:
    """Return the rows of each part; of the whole task, named "", if its score is not a mean over parts."""
    if sample.parts is None:
        return {"": np.arange(len(sample.values))}
    if len(sample.parts) != len(sample.values):
        raise ValueError(f"{len(sample.parts)} parts for {len(sample.values)} values")
    return group_rows_by_part(sample.parts)


def _make_stratum(sample: TaskSample, part: str, rows: npt.NDArray[np.int64]) -> tuple[_Stratum, Float64]:
    """Return a stratum, and float64[m, FLIPS]: the sums of each model's deviations with random signs."""
    clusters = None if sample.clusters is None else [sample.clusters[row] for row in rows.tolist()]
    sums, sizes = sum_units(sample.values[rows], clusters)
    units, models = sums.shape
    means = np.array([math.fsum(column) for column in sample.values[rows].T.tolist()]) / len(rows)
    # One unit shows no spread: its whole value counts as deviation.
    deviations = (sums - means * sizes[:, np.newaxis] * (units > 1)) / len(rows)
    # Each column has its own grid, so that a pair does not depend on other models.
    grids = [round_to_grid(column[:, np.newaxis]) for column in deviations.T]
    table = np.column_stack([*(whole for whole, _ in grids), sizes])
    steps = np.array([step for _, step in grids])
    seed = int(hash_json(["mrb-sign-flip-v2", sample.task_id, part])[:16], 16)
    flipped = np.ascontiguousarray(sum_with_random_signs(table, seed, FLIPS).T)
    squares, cubes = np.zeros((models, models)), np.zeros((models, models))
    for i in range(models):
        # At least two columns: numpy adds up a single one in another order.
        others = slice(min(i, models - 2), models)
        apart = deviations[:, others] - deviations[:, [i]]
        powers = apart * apart
        squares[i, others] = squares[others, i] = powers.sum(axis=0)
        cubes[i, others] = np.multiply(powers, apart, out=powers).sum(axis=0)
        cubes[others, i] = -cubes[i, others]
    return _Stratum(len(rows), units, means, flipped[-1].copy(), squares, cubes), flipped[:-1] * steps[:, np.newaxis]


def _test_contrasts(count: int, contrast: Callable[[Sequence[int]], Iterable[_Contrast]]) -> list[Difference]:
    """Test `count` contrasts, and correct their p values by a step-down maximum statistic (Westfall and Young 1993).

    `contrast` makes those of some places, in order. Each is made twice, because keeping them would take 160 kB a pair.
    """
    tests = [_invert(one) for one in contrast(range(count))]
    order = sorted(range(count), key=lambda place: tests[place][0])
    # Step down: the largest difference is compared with the largest of all, the next with the largest of the rest.
    largest = np.zeros(FLIPS)
    corrected = [1.0] * count
    for place, one in zip(order, contrast(order), strict=True):
        np.maximum(largest, one.flip()[1], out=largest)
        corrected[place] = _compute_p_value(largest, tests[place][0])
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
