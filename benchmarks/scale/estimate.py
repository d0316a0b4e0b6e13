"""The closed form: how long a run takes on a cluster, and where the time goes.

Queries are handed out as workers ask for them, so that a task ends when the last of them is answered. None is left to
be handed out after (S - W r) / V, S the work, V the sum of the workers' speeds, r the mean of R, the rest of the query
that a worker has in hand then. Queries' seconds are taken as lognormal, for which the rest's distribution is known:
P(R > x) = E[(C - x)+] / E[C], and its mean is E[C^2] / (2 E[C]) (renewal theory). The end is the greatest of all R, and
of what is left of larger shares that were taken earlier. Graham's bound for list scheduling (1969), S / W + (1 - 1/W)
times the longest share, holds it from above where all workers are alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from workload import Cluster, Float64, Way, Work, ways

from mrb.parallel.work_queue import AT_ONCE

AS_GOOD = 1.02
"""A way that takes no more than this times the shortest is as good: the estimate is no better."""
_GRID = 300
_TINY = 1e-6


@dataclass(frozen=True)
class Estimate:
    """Seconds of a run: in all, the sum of its parts.

    `work` is what all workers would take if none ever waited and every picture were looked at once by whom it is for
    with one worker; `pictures` what looking at pictures in several workers adds; `start` until workers are ready;
    `fetch` and `read` until tasks can be scored; `wait` for the last query of a task, the last part or node, and for
    slow and lost workers; `finish` measures.
    """

    work: float
    pictures: float
    start: float
    fetch: float
    read: float
    wait: float
    finish: float

    @property
    def seconds(self) -> float:
        """The makespan."""
        return self.work + self.pictures + self.start + self.fetch + self.read + self.wait + self.finish

    @property
    def limit(self) -> str:
        """What takes longest of all that more workers do not shorten."""
        return max(("pictures", "start", "fetch", "read", "wait", "finish"), key=lambda name: getattr(self, name))


@dataclass(frozen=True)
class Point:
    """A way to use so many workers, and what comes of it. `efficiency` is the part of their time that is work
    which one worker would have had too."""

    workers: int
    way: Way
    estimate: Estimate
    efficiency: float


def best(work: Sequence[Work], cluster: Cluster) -> Point:
    """The way with the fewest parts of those that are as good as the shortest."""
    found = compared(work, cluster)
    shortest = min(point.estimate.seconds for point in found)
    return min((p for p in found if p.estimate.seconds <= AS_GOOD * shortest), key=lambda point: point.way.parts)


def compared(work: Sequence[Work], cluster: Cluster) -> list[Point]:
    """Every way to use the cluster."""
    needed = sum(one.seconds(1) for one in work) / cluster.workers
    found = [(way, estimate(work, cluster, way)) for way in ways(cluster)]
    return [Point(cluster.workers, way, spent, needed / spent.seconds) for way, spent in found]


def estimate(work: Sequence[Work], cluster: Cluster, way: Way) -> Estimate:
    """How long the way takes. `way` is one of `ways(cluster)`."""
    ideal = sum(one.seconds(1) for one in work) / cluster.workers
    shared = sum(one.seconds(cluster.workers) for one in work) / cluster.workers
    finish = sum(one.finish_seconds for one in work)
    fetch, read = _until_ready(work, cluster, way)
    scoring = _one_run(work, cluster) if way.parts == 1 else _parts(work, cluster, way)
    return Estimate(ideal, shared - ideal, cluster.start, fetch, read, max(0.0, scoring - shared), finish)


def _until_ready(work: Sequence[Work], cluster: Cluster, way: Way) -> tuple[float, float]:
    """Seconds of fetching and of reading before scoring can begin, of all tasks."""
    far = cluster.link is not None
    fetch = _fetched(work, cluster, way)
    first = sum(one.open_seconds + (one.read_seconds if far else 0.0) for one in work)
    # The command reads a task before its workers do.
    again = sum(one.open_seconds for one in work) if way.workers > 1 else 0.0
    return fetch, first + again


def _fetched(work: Sequence[Work], cluster: Cluster, way: Way) -> float:
    """Seconds of fetching that scoring waits for. Nodes that have their own parts ask for a task at the same time only
    until the link of all has made one wait for the other: from then on some fetch while others read and score, unless
    that link has more to carry than there is other work meanwhile."""
    alone = sum(cluster.seconds_to_fetch(one.gigabytes, 1) for one in work)
    fetched = [place for place, one in enumerate(work) if one.gigabytes]
    if way.parts == 1 or not fetched:
        return alone
    each = [cluster.seconds_to_fetch(one.gigabytes, cluster.nodes) for one in work]
    meanwhile = work[fetched[0] : fetched[-1]]
    other = sum(one.seconds(cluster.workers) / cluster.workers + one.read_seconds for one in meanwhile)
    return max(alone, max(each), sum(each) - other)


def _one_run(work: Sequence[Work], cluster: Cluster) -> float:
    """Seconds of scoring in one run: each task ends before the next begins. Workers on the command's node begin while
    the others still read the task, which may be over before they have."""
    speeds, own = cluster.speeds(), cluster.gpus_per_node
    total = 0.0
    for one in work:
        whole = pulled_seconds(one.entry.queries, one.query_seconds(cluster.workers), speeds, cluster, one.open_seconds)
        if cluster.link is not None and cluster.nodes > 1:
            late = one.read_seconds + cluster.seconds_to_fetch(one.gigabytes, cluster.nodes - 1)
            alone = pulled_seconds(one.entry.queries, one.query_seconds(own), speeds[:own], cluster, one.open_seconds)
            whole = min(alone, whole + late * (1 - own / cluster.workers))
        total += whole
    return total


def _parts(work: Sequence[Work], cluster: Cluster, way: Way) -> float:
    """Seconds of scoring in the part that ends last. Parts wait for each other nowhere but at the end."""
    speeds = cluster.speeds().reshape(way.parts, way.workers)
    means, variance = np.zeros(way.parts), 0.0
    for one in work:
        each, more = divmod(one.entry.queries, way.parts)
        seconds = one.query_seconds(cluster.workers)
        for part_speeds in np.unique(speeds, axis=0):
            alike = (speeds == part_speeds).all(axis=1)
            for queries, chosen in ((each + 1, np.arange(way.parts) < more), (each, np.arange(way.parts) >= more)):
                means[alike & chosen] += pulled_seconds(queries, seconds, part_speeds, cluster, one.open_seconds)
        variance += one.entry.queries / way.parts * (seconds * cluster.spread / way.workers) ** 2
    return _latest(means, math.sqrt(variance))


def pulled_seconds(queries: int, seconds: float, speeds: Float64, cluster: Cluster, opened: float = 0.0) -> float:
    """Expected seconds until so many queries of `seconds` each on average are answered by workers of these speeds that
    pull them; a lost worker needs `opened` seconds after its start."""
    if not queries:
        return 0.0
    lost = 0.0
    if cluster.lost_every is not None:
        # What it had in hand is lost with it, half of it on average.
        lost = (cluster.start + opened + AT_ONCE / 2 * seconds) / (3600 * cluster.lost_every)
    power = float(speeds.sum()) / (1 + lost)
    if len(speeds) == 1:
        return queries * seconds / power
    distinct, counts = np.unique(speeds, return_counts=True)
    mix = tuple(zip(distinct.tolist(), counts.tolist(), strict=True))
    return _ended(queries, mix, power, cluster.spread) * seconds


@cache
def _ended(queries: int, mix: tuple[tuple[float, int], ...], power: float, spread: float) -> float:
    """When the last of the queries is answered, in means of a query; `mix` has each speed with its workers.

    Shares get smaller as less is left (`mrb.parallel.work_queue.WorkQueue`): while at most m times as many queries are
    left as there are workers, m are taken at once. The first share of each worker is taken at 0, those of m after it
    when so much has been answered.
    """
    workers = sum(many for _, many in mix)
    rest = (1 + spread**2) / 2
    empty = max(0.0, queries - workers * rest) / power if queries > workers else 0.0
    slowest = min(speed for speed, _ in mix)
    x = empty + np.concatenate([np.linspace(0, 16, _GRID, endpoint=False), np.geomspace(16, 300, _GRID)]) / slowest
    below = np.ones_like(x)
    others = float(workers)  # those that hold a single query when none is left to be handed out

    def ends(begun: float, over: Callable[[Float64], Float64], count: float) -> float:
        """Let `count` of the workers end what they took at `begun`; how many of them have not when none is left."""
        held = 0.0
        for speed, many in mix:
            late = np.clip(over(np.maximum(x - begun, 0) * speed), 0, 1)
            below[:] *= (1 - late) ** (count * many / workers)
            held += float(late[0]) * count * many / workers
        return held

    idle = float(workers)
    for share in range(min(AT_ONCE, math.ceil(queries / workers)), 0, -1):
        left = min(queries, share * workers)
        taken = (left - (share - 1) * workers) / share
        if queries > AT_ONCE * workers:
            idle = 0.0  # all have had a first share before
        first = min(idle, taken)
        idle -= first
        over = _share_over(share, spread)
        others -= ends(0.0, over, first)
        if share > 1:
            # So many are left on average when it is taken, or are half done in others' hands.
            unanswered = (share - 0.5 + share / 2) * workers
            others -= ends(max(0.0, queries - unanswered) / power, over, taken - first)
    if queries > workers:
        ends(empty, partial(_rest_over, spread=spread), max(0.0, others))
    return float(x[0]) + _integral(1 - below, x)


def _share_over(share: int, spread: float) -> Callable[[Float64], Float64]:
    """P(C_1 + ... + C_share > x), the sum taken as lognormal too."""
    return lambda x: _over(x / share, spread / math.sqrt(share))


def _over(x: Float64, spread: float) -> Float64:
    """P(C > x) of a lognormal C of mean 1."""
    sigma = math.sqrt(math.log1p(max(spread, _TINY) ** 2))
    return 1 - _normal(np.log(np.maximum(x, _TINY)) / sigma + sigma / 2)


def _rest_over(x: Float64, spread: float) -> Float64:
    """P(R > x) = E[(C - x)+], C lognormal of mean 1."""
    sigma = math.sqrt(math.log1p(max(spread, _TINY) ** 2))
    place = -np.log(np.maximum(x, _TINY)) / sigma
    return _normal(place + sigma / 2) - x * _normal(place - sigma / 2)


def _normal(x: Float64) -> Float64:
    """The normal distribution, to 1e-7: Abramowitz and Stegun, 26.2.17."""
    t = 1 / (1 + 0.2316419 * np.abs(x))
    sum_of_powers = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    upper: Float64 = sum_of_powers * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return np.where(x > 0, 1 - upper, upper)


def _latest(means: Float64, deviation: float) -> float:
    """E max of independent normal values with these means."""
    high = float(means.max())
    if deviation <= 0 or len(means) == 1:
        return high
    distinct, found = np.unique(means, return_counts=True)
    x = np.linspace(high - 2 * deviation, high + 7 * deviation, _GRID)
    log_below = np.zeros_like(x)
    for mean, many in zip(distinct, found, strict=True):
        log_below += many * np.log(np.maximum(_normal((x - mean) / deviation), 1e-300))
    return float(x[0]) + _integral(1 - np.exp(log_below), x)


def _integral(y: Float64, x: Float64) -> float:
    """By trapezoids."""
    return float(np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)))
