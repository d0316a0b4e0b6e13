"""A plan as people and programs read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import zip_longest
from typing import Any

from assumptions import load_assumed
from estimate import Point, best, compared
from workload import Cluster, Registered, Work

from mrb._util.format import format_duration, format_rate, format_size, format_table, format_tasks

GAIN = 1.1
"""Twice the workers help if that makes a run at least so many times faster."""
MOST_WORKERS = 65_536
WORDS = {
    "pictures": "pictures that several workers look at",
    "start": "start-up",
    "fetch": "fetching",
    "read": "reading data",
    "wait": "waiting for the last query, node or part",
    "finish": "measuring",
}
SPENT = ("work", *WORDS)


@dataclass(frozen=True)
class Asked:
    """What a plan is made for: `price` of a GPU-hour, `source` of the rates in words, tasks without a rate. `simulated`
    has the seconds of each way to use the cluster, where they were asked for."""

    work: Sequence[Work]
    without: Sequence[Registered]
    cluster: Cluster
    source: str
    price: float | None
    simulated: Sequence[float] = ()


def points(asked: Asked) -> list[Point]:
    """The best way for 1, 2, 4, ... workers up to the cluster's, and for these."""
    counts = [1 << power for power in range(asked.cluster.workers.bit_length())]
    return [best(asked.work, sized(asked.cluster, count)) for count in dict.fromkeys([*counts, asked.cluster.workers])]


def sized(cluster: Cluster, workers: int) -> Cluster:
    """The same cluster with another number of workers, on nodes as large unless there are too few for one."""
    return replace(cluster, workers=workers, gpus_per_node=min(workers, cluster.gpus_per_node))


def enough(asked: Asked) -> Point:
    """The least power of two of workers that twice as many would not make GAIN times faster."""
    point = best(asked.work, sized(asked.cluster, 1))
    while point.workers < MOST_WORKERS:
        twice = best(asked.work, sized(asked.cluster, 2 * point.workers))
        if twice.estimate.seconds * GAIN > point.estimate.seconds:
            break
        point = twice
    return point


def text(asked: Asked) -> str:
    """The plan: by type, by number of workers, by way, and what is to be known of it."""
    return "\n\n".join((_types(asked), _curve(asked), _ways(asked), "\n".join(_said(asked))))


def record(asked: Asked) -> dict[str, Any]:
    """The plan as plain data: seconds, bytes, and the cost where a price is given."""
    last = enough(asked)
    simulated = [round(seconds, 1) for seconds in asked.simulated]
    every = [_point(asked, point) for point in compared(asked.work, asked.cluster)]
    return {
        "schema_version": 1,
        "rates": asked.source,
        "tasks": [_task(asked, one) for one in asked.work],
        "without_rate": [entry.task.id for entry in asked.without],
        "cluster": {field.name: getattr(asked.cluster, field.name) for field in fields(asked.cluster)},
        "nodes": asked.cluster.nodes,
        "curve": [_point(asked, point) for point in points(asked)],
        "ways": [
            {**way, "simulated_seconds": seconds}
            for way, seconds in zip_longest(every, simulated, fillvalue=None)
            if way
        ],
        "enough_workers": {"workers": last.workers, "limit": last.estimate.limit},
        "bytes_to_fetch_per_node": round(_gigabytes(asked) * 1e9),
        "bytes_to_fetch": round(asked.cluster.nodes * _gigabytes(asked) * 1e9),
        "tasks_of_unknown_size": _unknown(asked.work),
        "journal_bytes": _journals(asked),
    }


def _types(asked: Asked) -> str:
    """A row for each type and the sum: the rate of a worker in this cluster, the part of the tokens that a shared
    prefix spares, and of the pairs those whose picture goes through a vision tower, at most."""
    head = "type,tasks,queries,pairs,pairs/s,GPU-hours,to fetch,unknown,prefix spares,new pictures"
    kinds = dict.fromkeys(one.entry.task.type for one in asked.work)
    rows = [
        _sums(kind, [one for one in asked.work if one.entry.task.type == kind], asked.cluster.workers) for kind in kinds
    ]
    return "\n".join(format_table([head.split(","), *rows, _sums("all", asked.work, asked.cluster.workers)]))


def _sums(name: str, group: Sequence[Work], workers: int) -> tuple[str, ...]:
    queries, pairs = sum(one.entry.queries for one in group), sum(one.entry.pairs for one in group)
    seconds, unknown = sum(one.seconds(workers) for one in group), _unknown(group)
    spared = sum(one.cost.spared(one.depth) * one.entry.pairs for one in group) / pairs
    new = sum(one.pictures(workers) for one in group)
    return (
        name,
        str(len(group)),
        f"{queries:,}",
        f"{pairs:,}",
        format_rate(pairs / seconds),
        _number(seconds / 3600),
        format_size(sum(one.gigabytes for one in group)) if unknown < len(group) else "-",
        str(unknown or "-"),
        f"{100 * spared:.0f} %" if any(one.cost.prefix for one in group) else "-",
        f"{100 * new / pairs:.1f} %" if new else "-",
    )


def _curve(asked: Asked) -> str:
    """A row for each number of workers."""
    rows = [["workers", "nodes", "time", "efficiency", *(["cost"] if asked.price is not None else []), "most lost to"]]
    ways = ["  best way"]
    for point in points(asked):
        spent, cost = point.estimate, [] if asked.price is None else [_number(_cost(asked, point))]
        nodes = sized(asked.cluster, point.workers).nodes
        efficiency = f"{100 * point.efficiency:.1f} %"
        rows.append(
            [f"{point.workers:,}", f"{nodes:,}", format_duration(spent.seconds), efficiency, *cost, spent.limit]
        )
        ways.append(f"  {point.way.command}")
    return "\n".join(line + way for line, way in zip(format_table(rows), ways, strict=True))


def _ways(asked: Asked) -> str:
    """A row for each way to use all workers: where its time goes."""
    rows = [["way", "time", *SPENT, *(["simulated"] if asked.simulated else [])]]
    for point, simulated in zip_longest(compared(asked.work, asked.cluster), asked.simulated):
        spent = point.estimate
        row = [point.way.command, format_duration(spent.seconds), *(_short(getattr(spent, name)) for name in SPENT)]
        if simulated is not None:
            row.append(f"{format_duration(simulated)} ({100 * (simulated / spent.seconds - 1):+.1f} %)")
        rows.append(row)
    return "\n".join(format_table(rows))


def _said(asked: Asked) -> Iterator[str]:
    """What the tables do not say, in sentences."""
    workers, last = asked.cluster.workers, enough(asked)
    limit, spent = last.estimate.limit, last.estimate.seconds
    yield (
        f"beyond {last.workers:,} workers, twice as many are not {GAIN:g} times as fast: {WORDS[limit]} takes "
        f"{100 * getattr(last.estimate, limit) / spent:.0f} % of {format_duration(spent)} there"
    )
    longest = max(asked.work, key=lambda one: one.query_seconds(workers))
    yield (
        f"no query is divided: one of {longest.entry.task.id} takes "
        f"{format_duration(longest.query_seconds(workers))}, the longest; "
        f"tasks with fewer queries than workers: {sum(one.entry.queries < workers for one in asked.work)}"
    )
    yield from _space(asked)
    if asked.without:
        left = ", ".join(entry.task.id for entry in asked.without)
        yield f"without a rate, and so not in this plan: {left}; --rate TYPE=N names one"
    yield f"rates: {asked.source}"
    yield f"taken for granted: {'; '.join(_taken_for_granted(asked.cluster))}"


def _space(asked: Asked) -> Iterator[str]:
    """Network, disk and memory."""
    known, unknown, nodes = _gigabytes(asked), _unknown(asked.work), asked.cluster.nodes
    more = f" and {format_tasks(unknown)} of unknown size" if unknown else ""
    yield f"network: {format_size(known)}{more} a node, {format_size(nodes * known)} of known size in all"
    rows = sum(one.gigabytes * one.named / one.documents for one in asked.work)
    yield (
        f"disk of a node: {format_size(known)}{more}, and for the rows of the lists at most "
        f"{format_size(rows)} of these again; of the command: journals of {format_size(_journals(asked) / 1e9)}"
    )
    kept = [min(one.documents, one.cost.kept) for one in asked.work if one.cost.picture]
    if kept:
        yield f"memory of a worker: features of {min(kept):,} to {max(kept):,} pictures, by their size; none on disk"


def _taken_for_granted(cluster: Cluster) -> Iterator[str]:
    harness = load_assumed().harness
    yield f"{cluster.start:g} s until a worker is ready"
    yield f"queries' seconds spread by {cluster.spread:g} of their mean"
    yield f"{harness.rows_opened_per_second:,.0f} rows/s opened"
    yield f"{harness.pairs_finished_per_second:,.0f} pairs/s measured"
    if cluster.link is None:
        yield "data on every node, rows of the lists found (no --link)"
    else:
        yield f"{harness.rows_read_per_second:,.0f} rows/s searched"
        yield f"{cluster.link:g} Gbit/s a node"
        yield "no bound for all nodes" if cluster.uplink is None else f"{cluster.uplink:g} Gbit/s for all nodes"
    if cluster.slow:
        yield f"{100 * cluster.slow:g} % of the workers at {cluster.slow_speed:g} of the others' speed"
    if cluster.lost_every is not None:
        yield f"a worker lost every {cluster.lost_every:g} hours of its work"


def _task(asked: Asked, one: Work) -> dict[str, Any]:
    return {
        "task": one.entry.task.id,
        "type": one.entry.task.type,
        "queries": one.entry.queries,
        "pairs": one.entry.pairs,
        "gigabytes": one.entry.gigabytes,
        "seconds_per_pair": one.cost.pair,
        "seconds_per_picture": one.cost.picture,
        "tokens_spared": round(one.cost.spared(one.depth), 4),
        "pictures_seen": round(one.pictures(asked.cluster.workers)),
        "worker_seconds": round(one.seconds(asked.cluster.workers), 1),
    }


def _point(asked: Asked, point: Point) -> dict[str, Any]:
    spent: Mapping[str, float] = {
        field.name: round(getattr(point.estimate, field.name), 1) for field in fields(point.estimate)
    }
    return {
        "workers": point.workers,
        "way": point.way.command,
        "seconds": round(point.estimate.seconds, 1),
        "efficiency": round(point.efficiency, 4),
        "cost": None if asked.price is None else round(_cost(asked, point), 2),
        "spent": spent,
    }


def _cost(asked: Asked, point: Point) -> float:
    """Every GPU is paid for from the first second to the last."""
    assert asked.price is not None
    return asked.price * point.workers * point.estimate.seconds / 3600


def _gigabytes(asked: Asked) -> float:
    return sum(one.gigabytes for one in asked.work)


def _unknown(work: Sequence[Work]) -> int:
    return sum(one.entry.gigabytes is None for one in work)


def _journals(asked: Asked) -> int:
    each = load_assumed().harness.record_bytes
    return sum(each * one.entry.queries + 4 * one.entry.pairs for one in asked.work)


def _short(seconds: float) -> str:
    return format_duration(seconds) if seconds >= 0.05 else "-"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 0.1 else f"{value:.2g}"
