"""What is to be done, and by whom: the tasks with their costs, the cluster, and the ways to divide a run over it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from assumptions import load_assumed
from cost import Cost, Costs, cost_of

from mrb.data.task import Task
from mrb.evaluation.estimate import count_from_registry
from mrb.evaluation.spec import RunSpec

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Registered:
    """The registry's numbers for a task. `gigabytes` is the download: None if unknown, 0 for embedded data."""

    task: Task
    queries: int
    pairs: int
    gigabytes: float | None


def registered(spec: RunSpec) -> list[Registered]:
    """The registry's numbers for the selected tasks."""
    return [
        Registered(
            task,
            **count_from_registry(task, spec),
            gigabytes=0.0 if task.source.kind == "embedded" else task.size.gigabytes,
        )
        for task in spec.tasks
    ]


@dataclass(frozen=True)
class Cluster:
    """`workers` with a GPU each, `gpus_per_node` on a node. Rates in Gbit/s: each node's `link` (None: all data is on
    the nodes, read before), and `uplink`, what all nodes have together (None: no bound).

    `slow` of the workers, a part of 1, run at `slow_speed` of the others'; a worker is lost every `lost_every` hours of
    its work on average (None: never) and comes back after `start` seconds. `spread` is how unlike queries are: the
    standard deviation of a query's seconds over their mean.
    """

    workers: int
    gpus_per_node: int = 1
    start: float = 0.0
    link: float | None = None
    uplink: float | None = None
    slow: float = 0.0
    slow_speed: float = 1.0
    lost_every: float | None = None
    spread: float = 0.0

    @property
    def nodes(self) -> int:
        """How many nodes there are; the last may have fewer workers."""
        return math.ceil(self.workers / self.gpus_per_node)

    def speeds(self) -> Float64:
        """The speed of each worker, 1 or `slow_speed`; the slow ones are spread evenly."""
        steps = np.floor(self.slow * np.arange(self.workers + 1) + 1e-9)
        return np.where(np.diff(steps) > 0, self.slow_speed, 1.0)

    def seconds_to_fetch(self, gigabytes: float, nodes: int) -> float:
        """How long it takes until each of so many nodes has fetched so much, all at the same time."""
        if self.link is None:
            return 0.0
        own = 8 * gigabytes / self.link
        return own if self.uplink is None else max(own, 8 * gigabytes * nodes / self.uplink)


@dataclass(frozen=True)
class Work:
    """A task that is to be scored, and what its pairs cost a worker."""

    entry: Registered
    cost: Cost

    @property
    def depth(self) -> int:
        """Candidates a query."""
        return self.entry.pairs // self.entry.queries

    @property
    def documents(self) -> int:
        """Documents of the corpus."""
        return self.entry.task.size.documents

    @property
    def named(self) -> int:
        """How many of them the candidate lists can name at most."""
        return min(self.documents, self.entry.pairs)

    @property
    def gigabytes(self) -> float:
        """What is to fetch, as far as the registry states it."""
        return self.entry.gigabytes or 0.0

    def pictures(self, workers: int) -> float:
        """How many documents' pictures go through vision towers when so many workers share the queries: at most as
        many as there are pairs. See `pictures_seen`."""
        if not self.cost.picture:
            return 0.0
        used = min(workers, self.entry.queries)
        return used * pictures_seen(self.entry.queries / used, self.depth, self.documents, self.cost.kept)

    def query_seconds(self, workers: int) -> float:
        """Mean seconds of a query, when so many workers share the queries."""
        pictures = self.cost.picture * self.pictures(workers) / self.entry.queries
        return self.cost.pair * self.depth + pictures

    def seconds(self, workers: int) -> float:
        """Seconds of work in all queries."""
        return self.entry.queries * self.query_seconds(workers)

    @property
    def read_seconds(self) -> float:
        """Until a node has found the rows of the list in a corpus that it has fetched."""
        embedded = self.entry.task.source.kind == "embedded"
        return 0.0 if embedded else self.documents / load_assumed().harness.rows_read_per_second

    @property
    def open_seconds(self) -> float:
        """Until a process has opened rows that were found before."""
        return self.named / load_assumed().harness.rows_opened_per_second

    @property
    def finish_seconds(self) -> float:
        """Until all is measured and written."""
        return self.entry.pairs / load_assumed().harness.pairs_finished_per_second


@dataclass(frozen=True)
class Way:
    """A run as so many `parts` (`--shard I/N`), each a command of its own with `workers` on one node; a single part
    has all workers, of all nodes."""

    parts: int
    workers: int
    cluster: bool

    @property
    def command(self) -> str:
        """What is asked of `mrb run`, beside the model and the suite."""
        several = f"--workers {self.workers}"
        if self.parts == 1:
            return ("--executor ray " if self.cluster else "") + several if self.workers > 1 else "one process"
        return f"--shard I/{self.parts}" + (f" {several}" if self.workers > 1 else "")


def ways(cluster: Cluster) -> list[Way]:
    """The ways to use all workers of the cluster: one run, a part for each node, a part for each worker."""
    whole = Way(1, cluster.workers, cluster=cluster.nodes > 1)
    nodes = Way(cluster.nodes, cluster.gpus_per_node, cluster=False)
    single = Way(cluster.workers, 1, cluster=False)
    even = cluster.workers == cluster.nodes * cluster.gpus_per_node
    return list(dict.fromkeys([whole, *([nodes] if cluster.nodes > 1 and even else []), single]))


def works(entries: Iterable[Registered], costs: Costs) -> tuple[list[Work], list[Registered]]:
    """The tasks whose cost is known as work, and the others."""
    found: list[Work] = []
    unknown: list[Registered] = []
    for entry in entries:
        cost = cost_of(costs, entry.task)
        if cost is None:
            unknown.append(entry)
        else:
            found.append(Work(entry, cost))
    return found, unknown


def pictures_seen(queries: float, depth: int, documents: int, kept: int) -> float:
    """How many pictures a worker's vision tower has to look at for so many queries, if each list were drawn from the
    corpus at random: the distinct documents of the lists, and, where the cache holds fewer than the corpus, so many of
    the others as it has let go of. Real lists agree more with each other, so this is an upper bound.
    """
    part = min(1.0, depth / documents)
    distinct = documents * (1 - math.pow(1 - part, queries))
    missed = max(0.0, 1 - kept / documents)
    return distinct + (queries * depth - distinct) * missed
