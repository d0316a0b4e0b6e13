"""A discrete simulation of a run: events in order of time, and the executors' own rule of who gets which queries.

`mrb.parallel.work_queue` decides here as it does in a run: what is handed out, in which pieces, and what
becomes of it when a worker is lost. Only time is simulated: a heap of (when, what). simpy (4.1.2) would bring the same
heap with a generator for each process; the rule that is to be tested would stay ours.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from workload import Cluster, Float64, Way, Work

from mrb.parallel.work_queue import InHand, WorkQueue

Action = Callable[[], None]


@dataclass(frozen=True)
class Job:
    """A task of a simulated run: seconds of each query at speed 1, in the plan's order, and of all that is not scoring:
    `read` once on a node that has fetched it, `opened` in each process, `finish` at the end, by the command alone."""

    work: Work
    costs: Float64
    read: float
    opened: float
    finish: float


def drawn(work: Sequence[Work], cluster: Cluster, rng: np.random.Generator) -> list[Job]:
    """Jobs with lognormal costs of the mean and spread that the plan has for them."""
    sigma = math.sqrt(math.log1p(cluster.spread**2))
    jobs = []
    for one in work:
        unlike = rng.lognormal(-(sigma**2) / 2, sigma, one.entry.queries)
        jobs.append(job(one, unlike * one.query_seconds(cluster.workers)))
    return jobs


def job(work: Work, costs: Float64) -> Job:
    """The job of a task with measured costs; its other seconds are the plan's."""
    return Job(work, costs, work.read_seconds, work.open_seconds, work.finish_seconds)


def simulate(jobs: Sequence[Job], cluster: Cluster, way: Way, rng: np.random.Generator, read_ahead: int = 1) -> float:
    """Seconds until the run is measured and written; of parts, until `mrb merge` has. `way` is one of `ways(cluster)`.

    `read_ahead` is how many queries the adapter takes before it answers any.
    """
    clock = _Clock()
    link = _Link(clock, cluster)
    speeds = cluster.speeds().reshape(way.parts, way.workers)
    runs = []
    for number in range(way.parts):
        own = [_of_part(one, number, way.parts) for one in jobs]
        first = number * way.workers
        nodes = [(first + place) // cluster.gpus_per_node for place in range(way.workers)]
        runs.append(_Run(clock, link, cluster, own, speeds[number], nodes, rng, read_ahead, waits=not way.cluster))
        runs[-1].begin()
    clock.run()
    return max(run.ended for run in runs) + (sum(one.finish for one in jobs) if way.parts > 1 else 0.0)


def _of_part(whole: Job, number: int, parts: int) -> Job:
    if parts == 1:
        return whole
    return Job(whole.work, whole.costs[number::parts], whole.read, whole.opened, 0.0)


class _Clock:
    """What is to happen, in order."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Action]] = []
        self._count = itertools.count()

    def after(self, seconds: float, action: Action) -> None:
        heapq.heappush(self._heap, (self.now + seconds, next(self._count), action))

    def run(self) -> None:
        while self._heap:
            self.now, _, action = heapq.heappop(self._heap)
            action()


class _Link:
    """What nodes fetch: each task once a node, through its own link and, one after the other, through that of all. Each
    process then finds the rows of the list itself, unless another on its node has done it before."""

    def __init__(self, clock: _Clock, cluster: Cluster) -> None:
        self._clock = clock
        self._cluster = cluster
        self._free = 0.0
        self._fetched: dict[tuple[int, str], float] = {}
        self._found: dict[tuple[int, str], float] = {}

    def seconds(self, node: int, one: Job) -> float:
        """From now until a process on the node has the task's rows."""
        if self._cluster.link is None:
            return 0.0
        now, place = self._clock.now, (node, one.work.entry.task.id)
        if place not in self._fetched:
            size = 8 * one.work.gigabytes
            fetched = now + size / self._cluster.link
            if self._cluster.uplink is not None and size:
                self._free = max(now, self._free) + size / self._cluster.uplink
                fetched = max(fetched, self._free)
            self._fetched[place] = fetched
        found = max(now, self._fetched[place]) + one.read
        if self._found.setdefault(place, found) <= now:
            return 0.0
        return found - now


@dataclass(eq=False)
class _Worker:
    speed: float
    node: int
    in_hand: InHand = field(default_factory=dict)
    opened: int = -1
    busy: bool = True


class _Run:
    """One command with its workers."""

    def __init__(
        self,
        clock: _Clock,
        link: _Link,
        cluster: Cluster,
        jobs: Sequence[Job],
        speeds: Float64,
        nodes: Sequence[int],
        rng: np.random.Generator,
        read_ahead: int,
        *,
        waits: bool,
    ) -> None:
        self._clock, self._link, self._cluster, self._rng = clock, link, cluster, rng
        self._jobs = jobs
        self._waits = waits
        self._read_ahead = read_ahead
        self._workers = [_Worker(float(speed), node) for speed, node in zip(speeds, nodes, strict=True)]
        self._home = nodes[0]
        self._at = -1
        self.ended = 0.0
        self._costs: list[float] = []
        self._handing: WorkQueue | None = None

    def begin(self) -> None:
        """Start the workers; the command goes on when they are there."""
        self._clock.after(self._cluster.start, self._built)

    def _built(self) -> None:
        for worker in self._workers:
            worker.busy = False
        self._next_task()

    def _next_task(self) -> None:
        """The command reads the next task that has queries."""
        self._at += 1
        if self._at == len(self._jobs):
            self.ended = self._clock.now
            return
        one = self._jobs[self._at]
        self._handing = None
        self._clock.after(self._link.seconds(self._home, one) + one.opened, self._read)

    def _read(self) -> None:
        one = self._jobs[self._at]
        if not len(one.costs):
            self._next_task()
            return
        pairs = one.work.depth
        self._costs = one.costs.tolist()
        spans = ((str(query), 0, pairs) for query in range(len(self._costs)))
        self._handing = WorkQueue(spans)
        self._rng.shuffle(self._workers)  # who asks first is nobody's choice
        for worker in self._workers:
            if not worker.busy:
                self._open(worker)

    def _open(self, worker: _Worker) -> None:
        """Have a worker read the task; the only one of a command reads it with it."""
        at, one = self._at, self._jobs[self._at]
        worker.busy = True
        seconds = 0.0 if len(self._workers) == 1 else self._link.seconds(worker.node, one) + one.opened
        self._clock.after(seconds, lambda: self._opened(worker, at))

    def _opened(self, worker: _Worker, at: int) -> None:
        worker.busy, worker.opened = False, at
        if self._waits and any(other.busy and other.opened < self._at for other in self._workers):
            return
        for other in self._workers if self._waits else [worker]:
            self._ask(other)

    def _ask(self, worker: _Worker) -> None:
        """What a worker that does nothing does next."""
        if self._handing is None or worker.busy:
            return
        if worker.opened < self._at:
            self._open(worker)
            return
        in_hand, there = worker.in_hand, len(self._workers)
        while len(in_hand) < self._read_ahead and self._handing.take(in_hand, there):
            pass
        if not in_hand:
            return
        worker.busy = True
        seconds = sum(self._costs[int(query)] for query in in_hand) / worker.speed
        if self._cluster.lost_every is not None:
            lost = float(self._rng.exponential(3600 * self._cluster.lost_every))
            if lost < seconds:
                self._clock.after(lost, lambda: self._lost(worker))
                return
        self._clock.after(seconds, lambda: self._answered(worker))

    def _answered(self, worker: _Worker) -> None:
        worker.busy = False
        handing = self._handing
        assert handing is not None
        for query in list(worker.in_hand):
            handing.accept(worker.in_hand, query)
        if handing.is_finished:
            self._handing = None
            self._clock.after(self._jobs[self._at].finish, self._next_task)
            return
        self._ask(worker)

    def _lost(self, worker: _Worker) -> None:
        assert self._handing is not None
        self._handing.requeue(worker.in_hand)
        self._clock.after(self._cluster.start, lambda: self._back(worker))
        for other in self._workers:
            self._ask(other)

    def _back(self, worker: _Worker) -> None:
        worker.busy, worker.opened = False, -1
        if self._handing is not None:
            self._open(worker)
