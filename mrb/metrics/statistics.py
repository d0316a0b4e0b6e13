"""Bootstrap intervals of means over queries, and of averages over tasks.

Results are bit-identical on every machine (`mrb.metrics.resampling`). Interval ends are resampled means, not
interpolated.

The resampled *unit* is a query, or a cluster of queries that share an image, a page or a text. A mean over clusters is
the ratio estimator: sum of values / number of queries. Each task is resampled on its own. So is each part of a task
whose score is the mean over its parts (`mrb.metrics.aggregation`); a cluster never spans two parts. `docs/scoring.md`
explains the choice of the interval and its coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from mrb._util.hashing import hash_json
from mrb.metrics.aggregation import group_rows_by_part
from mrb.metrics.resampling import draw_bootstrap_counts, round_to_grid

Float64 = npt.NDArray[np.float64]
Average = Literal["tasks", "types"]

LEVEL = 0.95
RESAMPLES = 2000
_ROUNDING = 1e-12
_NORMAL = NormalDist()


@dataclass(frozen=True)
class MeanInterval:
    """A mean and its interval, `low <= mean <= high`, in the unit of the values (fractions). The three are equal if all
    units have the same value or there is one unit: that shows no spread, not certainty."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class TaskSample:
    """One task's values for averages over tasks: float64[n, m], n queries by m columns (measures, or models).

    `type` is the task's type, for the mean over types. `clusters` has the cluster of each query; None if queries are
    independent. `parts` has the part of each query if the task's score is the mean over its parts, else None. Columns
    have the same meaning in all tasks of an average.
    """

    task_id: str
    type: str
    values: Float64
    clusters: Sequence[str] | None = None
    parts: Sequence[str] | None = None

    @property
    def units(self) -> int:
        """Number of units that are resampled."""
        if self.clusters is None:
            return len(self.values)
        return len(set(zip(self.parts or self.clusters, self.clusters, strict=True)))


@dataclass(frozen=True)
class Averages:
    """Intervals of each column: of the mean over tasks, the mean over types, and the mean of each type's tasks."""

    over_tasks: tuple[MeanInterval, ...]
    over_types: tuple[MeanInterval, ...]
    of_types: dict[str, tuple[MeanInterval, ...]]


@dataclass(frozen=True)
class _Resampled:
    """An estimate: mean float64[m], resampled means `draws` float64[resamples, m], and per task the squared bootstrap
    standard error (float64[tasks, m]) and the number of units."""

    mean: Float64
    draws: Float64
    variances: Float64
    units: tuple[int, ...]


def derive_task_seed(task_id: str) -> int:
    """Return the seed of a task's resampling, an unsigned 64-bit integer from a SHA-256 of the task's id."""
    return int(hash_json(["mrb-bootstrap-v1", task_id])[:16], 16)


def derive_part_seed(seed: int, part: str) -> int:
    """Return the seed of a part's resampling in a task with this seed."""
    return int(hash_json(["mrb-bootstrap-v1", seed, part])[:16], 16)


def compute_interval(
    values: Float64,
    clusters: Sequence[str] | None = None,
    parts: Sequence[str] | None = None,
    *,
    seed: int,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> MeanInterval:
    """Return the mean of `values` and its bootstrap interval.

    It is the expanded percentile interval (Hesterberg, The American Statistician 69, 2015, section 5.3): percentiles of
    the resampled means, further out than (1 - level) / 2 by the factor sqrt(u / (u - 1)) that the bootstrap's standard
    error lacks with u units, and by Student's quantile in place of the normal one.

    `values` is float64[n]. `clusters` has the cluster of each value, None if values are independent. With `parts`, the
    part of each value, the mean is that of the parts' means. ValueError: no values, a value that is not finite, or a
    wrong number of cluster keys.
    """
    return compute_intervals(values[:, np.newaxis], clusters, parts, seed=seed, level=level, resamples=resamples)[0]


def compute_intervals(
    values: Float64,
    clusters: Sequence[str] | None = None,
    parts: Sequence[str] | None = None,
    *,
    seed: int,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> tuple[MeanInterval, ...]:
    """Return the `compute_interval` of each column of float64[n, m]. All columns use the same
    resamples, so many columns take little longer than one.
    """
    return _bound_means(_resample(values, clusters, parts, seed, resamples), level)


def compute_averages(samples: Sequence[TaskSample], *, level: float = LEVEL, resamples: int = RESAMPLES) -> Averages:
    """Return the averages over `samples` with intervals.

    Each task is resampled with its own seed (`derive_task_seed`), as for its own interval; the order of the samples
    does not matter. Degrees of freedom are Satterthwaite's (Biometrics Bulletin 2, 1946). ValueError: no tasks, or one
    twice.
    """
    ordered = sort_samples(samples)
    tasks = [_resample(s.values, s.clusters, s.parts, derive_task_seed(s.task_id), resamples) for s in ordered]
    by_type: dict[str, list[_Resampled]] = {}
    for sample, resampled in zip(ordered, tasks, strict=True):
        by_type.setdefault(sample.type, []).append(resampled)
    types = {name: _average_estimates(by_type[name]) for name in sorted(by_type)}
    over = [_bound_means(_average_estimates(some), level) for some in (tasks, list(types.values()))]
    return Averages(over[0], over[1], {name: _bound_means(found, level) for name, found in types.items()})


def sort_samples(samples: Sequence[TaskSample]) -> list[TaskSample]:
    """Return the samples sorted by task id, so that sums over tasks do not depend on the order given."""
    if not samples:
        raise ValueError("an average over no tasks")
    ordered = sorted(samples, key=lambda sample: sample.task_id)
    for one, other in pairwise(ordered):
        if one.task_id == other.task_id:
            raise ValueError(f"task {one.task_id} occurs twice in an average")
        if one.values.shape[1:] != other.values.shape[1:]:
            raise ValueError(f"tasks {one.task_id} and {other.task_id} have different columns")
    return ordered


def sum_units(values: Float64, clusters: Sequence[str] | None) -> tuple[Float64, Float64]:
    """Return the sum of each unit's values, float64[u, m], and the number of its values, float64[u]."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"values of shape {values.shape}: at least one finite number a column is needed")
    if clusters is None:
        return values, np.ones(len(values))
    if len(clusters) != len(values):
        raise ValueError(f"{len(clusters)} cluster keys for {len(values)} values")
    numbers: dict[str, int] = {}
    unit = np.array([numbers.setdefault(key, len(numbers)) for key in clusters])
    sums = [np.bincount(unit, weights=column) for column in values.T]
    return np.column_stack(sums), np.bincount(unit).astype(np.float64)


def _resample(
    values: Float64, clusters: Sequence[str] | None, parts: Sequence[str] | None, seed: int, resamples: int
) -> _Resampled:
    if parts is not None:
        if len(parts) != len(values):
            raise ValueError(f"{len(parts)} parts for {len(values)} values")
        return _average_estimates(
            [
                _resample(values[rows], _taken(clusters, rows), None, derive_part_seed(seed, name), resamples)
                for name, rows in group_rows_by_part(parts).items()
            ]
        )
    sums, counts = sum_units(values, clusters)
    mean = np.array([math.fsum(column) for column in np.asarray(values, dtype=np.float64).T]) / len(values)
    whole, step = round_to_grid(sums)
    table = np.column_stack((whole, counts))
    totals = np.concatenate([drawn @ table for drawn in draw_bootstrap_counts(len(sums), seed, resamples)])
    # Influence of each unit on the ratio, to first order; the sum of squares is the squared standard error.
    influence = (sums - mean * counts[:, np.newaxis]) / len(values)
    variance = np.array([math.fsum(column) for column in (influence * influence).T])
    return _Resampled(mean, totals[:, :-1] * step / totals[:, -1:], variance[np.newaxis], (len(sums),))


def _taken(keys: Sequence[str] | None, rows: npt.NDArray[np.int64]) -> Sequence[str] | None:
    return None if keys is None else [keys[row] for row in rows.tolist()]


def _average_estimates(parts: Sequence[_Resampled]) -> _Resampled:
    """Return the unweighted mean of independent estimates."""
    count = len(parts)
    return _Resampled(
        # Divided once, so a mean of ones is exactly one. Python's sum always adds in the order given.
        mean=np.asarray(sum(part.mean for part in parts) / count),
        draws=np.asarray(sum(part.draws for part in parts) / count),
        variances=np.concatenate([part.variances for part in parts]) / count**2,
        units=tuple(units for part in parts for units in part.units),
    )


def _bound_means(found: _Resampled, level: float) -> tuple[MeanInterval, ...]:
    ends = []
    for mean, draws, variances in zip(found.mean.tolist(), found.draws.T, found.variances.T, strict=True):
        ranked = np.sort(draws)
        if ranked[-1] - ranked[0] <= _ROUNDING:  # equal values, rounded differently by cluster sizes
            ends.append(MeanInterval(mean, mean, mean))
            continue
        tail = _compute_tail_share(variances.tolist(), found.units, (1 - level) / 2)
        outside = max(math.floor(tail * (len(ranked) + 1)), 1) - 1
        # Resampled means of skewed values are not centred on the mean, which may lie outside at a low level.
        ends.append(MeanInterval(mean, min(mean, ranked[outside].item()), max(mean, ranked[-1 - outside].item())))
    return tuple(ends)


def _compute_tail_share(variances: Sequence[float], units: Sequence[int], tail: float) -> float:
    """Return the share of resampled means below the interval, less than `tail`, that gives Student's coverage.

    A bootstrap's variance is (u - 1) / u of the unbiased one. Welch and Satterthwaite give the degrees of freedom of a
    sum. Tasks with one unit show no spread and are left out of both.
    """
    parts = [(v, v * u / (u - 1), u - 1) for v, u in zip(variances, units, strict=True) if u > 1]
    unbiased = math.fsum(fair for _, fair, _ in parts)
    freedom = unbiased**2 / math.fsum(fair**2 / less for _, fair, less in parts)
    stretch = math.sqrt(unbiased / math.fsum(biased for biased, _, _ in parts))
    return _NORMAL.cdf(stretch * compute_student_quantile(tail, freedom))


def compute_student_quantile(probability: float, freedom: float) -> float:
    """Return Student's t quantile (Abramowitz and Stegun, 26.7.5); error below 4e-4 from 8 degrees of freedom on."""
    z = _NORMAL.inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))
