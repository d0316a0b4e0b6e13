"""What a run takes on a cluster by the closed form and, with --simulate, by the simulation.

    python benchmarks/scale/plan.py --assume gmr-3b --workers 512 --gpus-per-node 8 --price 2 --simulate

README.md explains the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import report
from assumptions import load_assumed
from cost import Costs, by_arithmetic, costs_of
from simulate import drawn, simulate
from workload import Cluster, Work, registered, ways, works

from mrb.errors import MRBError
from mrb.evaluation.estimate import parse_rates, read_rates
from mrb.evaluation.spec import select_tasks


@click.command()
@click.option("--suite", "suite_id", metavar="ID", help="Suite of tasks. Default: mrb, unless --task names some.")
@click.option("--task", "task_ids", multiple=True, metavar="ID", help="Only this task; may be repeated.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only tasks of this type; repeatable.")
@click.option("--depth", type=click.IntRange(1, 10_000), help="Candidates a query. Default: the suite's.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N queries of each task.")
@click.option("--rate", "rates", multiple=True, metavar="[TYPE=]N", help="Pairs a second of a worker; repeatable.")
@click.option("--rates-from", "run", type=click.Path(path_type=Path), metavar="RUN", help="Rates as RUN had them.")
@click.option("--assume", metavar="NAME", help="Rates from arithmetic: gmr-3b or gmr-7b.")
@click.option("--teraflops", type=click.FloatRange(0, min_open=True), help="With --assume: of a GPU, sustained.")
@click.option("--cache-mb", type=click.IntRange(0), help="With --assume: picture features that a worker keeps.")
@click.option("--workers", type=click.IntRange(1, 65_536), default=1, show_default=True, help="Workers, a GPU each.")
@click.option("--gpus-per-node", type=click.IntRange(1, 1024), default=1, show_default=True, help="Workers of a node.")
@click.option("--price", type=click.FloatRange(0), metavar="P", help="Of a GPU for an hour.")
@click.option(
    "--link",
    type=click.FloatRange(0, min_open=True),
    metavar="GBIT/S",
    help="Each node's link. Default: all data is on every node.",
)
@click.option(
    "--uplink", type=click.FloatRange(0, min_open=True), metavar="GBIT/S", help="What all nodes have together."
)
@click.option("--start", type=click.FloatRange(0), metavar="SECONDS", help="Until a worker has built the reranker.")
@click.option(
    "--spread", type=click.FloatRange(0, 3), metavar="S", help="Deviation of a query's seconds over the mean."
)
@click.option(
    "--slow", type=click.FloatRange(0, 1), default=0.0, metavar="PART", help="Part of the workers, 0 to 1 ..."
)
@click.option(
    "--slow-speed",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="... that run at so much of the others' speed.",
)
@click.option(
    "--lost-every", type=click.FloatRange(0, min_open=True), metavar="HOURS", help="A worker is lost after so long."
)
@click.option("--simulate", is_flag=True, help="Simulate each way too, event by event.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the simulation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    suite_id: str | None,
    task_ids: tuple[str, ...],
    types: tuple[str, ...],
    depth: int | None,
    limit: int | None,
    rates: tuple[str, ...],
    run: Path | None,
    assume: str | None,
    teraflops: float | None,
    cache_mb: int | None,
    workers: int,
    gpus_per_node: int,
    price: float | None,
    link: float | None,
    uplink: float | None,
    start: float | None,
    spread: float | None,
    slow: float,
    slow_speed: float,
    lost_every: float | None,
    simulate: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Say what a run takes on a cluster: hours, cost, network, disk, and how best to divide it.

    Sizes are the registry's. Rates are one worker's: --rate, --rates-from or --assume. Nothing is written.
    """
    if uplink is not None and link is None:
        raise MRBError("--uplink needs --link, what each node has of it")
    if workers % min(workers, gpus_per_node):
        raise MRBError(f"--workers {workers} do not fill nodes of {gpus_per_node}")
    selection = select_tasks(suite_id or (None if task_ids else "mrb"), task_ids, types, depth)
    kinds = tuple(dict.fromkeys(task.type for task in selection.tasks))
    costs, source = _costs(Given(rates, run, assume, teraflops, cache_mb), selection.depth, kinds)
    found, without = works(registered(replace(selection, limit=limit)), costs)
    if not found:
        raise MRBError(f"no rate for any of these tasks: they are of type {', '.join(kinds)}")
    harness = load_assumed().harness
    cluster = Cluster(
        workers=workers,
        gpus_per_node=min(workers, gpus_per_node),
        start=harness.start_seconds if start is None else start,
        link=link,
        uplink=uplink,
        slow=slow,
        slow_speed=slow_speed if slow else 1.0,
        lost_every=lost_every,
        spread=harness.spread if spread is None else spread,
    )
    asked = report.Asked(found, without, cluster, source, price, _simulated(found, cluster, seed) if simulate else ())
    click.echo(json.dumps(report.record(asked), indent=2, ensure_ascii=False) if as_json else report.text(asked))


@dataclass(frozen=True)
class Given:
    """How the user says what pairs cost: in one of three ways, and what belongs to the last."""

    given: tuple[str, ...]
    run: Path | None
    assume: str | None
    teraflops: float | None
    cache_mb: int | None


def _costs(rates: Given, depth: int, kinds: tuple[str, ...]) -> tuple[Costs, str]:
    """What pairs cost, and how that is known."""
    if sum((bool(rates.given), rates.run is not None, rates.assume is not None)) != 1:
        raise MRBError("name the rates in one way: --rate N, --rates-from RUN or --assume NAME")
    if rates.assume is None and (rates.teraflops is not None or rates.cache_mb is not None):
        raise MRBError("--teraflops and --cache-mb are for --assume")
    if rates.given:
        return costs_of(parse_rates(rates.given)), "given"
    if rates.run is not None:
        return costs_of(read_rates(rates.run)), f"measured in {rates.run}, a worker's share"
    sustained = rates.teraflops or load_assumed().sustained_teraflops
    arithmetic = load_assumed().model(rates.assume or "")
    if rates.cache_mb is not None:
        arithmetic = arithmetic.model_copy(update={"cache_mb": rates.cache_mb})
    return by_arithmetic(arithmetic, sustained, depth), (
        f"arithmetic of {arithmetic.id} at {sustained:g} TFLOP/s sustained, which nobody has measured (scale.toml)"
    )


def _simulated(work: Sequence[Work], cluster: Cluster, seed: int) -> list[float]:
    """Seconds of each way to use the cluster."""

    generators = [np.random.default_rng(seed) for _ in ways(cluster)]
    return [
        simulate(drawn(work, cluster, rng), cluster, way, rng)
        for way, rng in zip(ways(cluster), generators, strict=True)
    ]


if __name__ == "__main__":
    command()
