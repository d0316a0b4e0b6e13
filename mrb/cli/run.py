"""`mrb run`: score a reranker."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb._util.files import check_run_name
from mrb.cli.executor import add_cluster_options, select_executor
from mrb.cli.options import (
    add_candidates_option,
    add_data_option,
    add_depth_option,
    add_estimate_options,
    add_model_option,
    add_out_option,
    add_suite_option,
    add_task_option,
    add_type_option,
    folder_type,
    need_dry_run,
    open_all_data,
    parse_key_values,
    set_option,
)
from mrb.errors import MRBError
from mrb.parallel.ray_cluster import ClusterOptions

if TYPE_CHECKING:
    from mrb.evaluation.executor import Executor
    from mrb.results.run import Run


@click.command()
@add_model_option()
@set_option()
@add_suite_option()
@add_task_option()
@add_data_option()
@click.option("--first-stage", metavar="NAME", help="Make the lists of your own data by this retriever, e.g. bm25.")
@add_type_option()
@add_depth_option("Candidates per query. Default: the suite's.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N queries of each task, for trials.")
@add_candidates_option()
@click.option(
    "--candidate-set",
    "candidate_sets",
    multiple=True,
    metavar="NAME",
    help="Rerank the lists of this candidate set, into the folder NAME--SET; may be repeated; all means every set.",
)
@add_out_option("runs")
@click.option("--name", metavar="NAME", help="Name of the run's folder. Default: the model's.")
@click.option(
    "--allow-failures",
    type=click.IntRange(0),
    default=0,
    help="Pairs per task that may fail; they are ranked last, counted and published. Default: none.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    help="Processes that score, with one instance of the reranker each. Default: 1; with ray, as many as fit.",
)
@add_cluster_options
@click.option(
    "--shard", metavar="I/N", help="Score the Ith of N shards of each task's queries; `mrb merge` merges them."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="With workers: end a worker that holds queries and does not answer for this long.",
)
@click.option(
    "--raw-qrels", is_flag=True, help="Keep judgements of documents that the corpus lacks; not comparable with others."
)
@click.option("--fresh", is_flag=True, help="Discard the scores that the run's folder holds and start over.")
@add_estimate_options("pairs", "Check the data, time a few pairs, estimate time and cost; write nothing.")
@click.option(
    "--rates-from", type=folder_type(), metavar="RUN", help="With --dry-run: the rates that the run in this folder had."
)
def command(
    model: str,
    options: tuple[str, ...],
    suite_id: str | None,
    task_ids: tuple[str, ...],
    data: tuple[str, ...],
    first_stage: str | None,
    types: tuple[str, ...],
    depth: int | None,
    limit: int | None,
    candidates: str | None,
    candidate_sets: tuple[str, ...],
    out: Path,
    name: str | None,
    allow_failures: int,
    workers: int | None,
    executor: str,
    gpus_per_worker: float | None,
    address: str | None,
    shard: str | None,
    timeout: float | None,
    raw_qrels: bool,
    fresh: bool,
    dry: bool,
    rates: tuple[str, ...],
    gpu_id: str | None,
    price: float | None,
    rates_from: Path | None,
) -> None:
    """Score a reranker on a suite or on single tasks, and print a table.

    Killed at any moment, the same command continues where it stopped.
    """
    from mrb._util.terminal import find_screen
    from mrb.candidates.load import check_all_candidates
    from mrb.candidates.set_lists import expand_sets, list_published, locate_made_set, refuse_equal_folders
    from mrb.evaluation.run import run
    from mrb.evaluation.spec import parse_shard, select_tasks
    from mrb.rerankers.model_address import announce_model
    from mrb.results.table import format_run
    from mrb.retrieval.own_lists import find_lists

    need_dry_run(dry, rate=rates, rates_from=rates_from, gpu=gpu_id, price=price)
    start = select_executor(executor, ClusterOptions(workers, gpus_per_worker, address), timeout)
    own = open_all_data(data)
    spec = select_tasks(suite_id, task_ids, types, depth, "raw" if raw_qrels else "cleaned", own)
    sets: tuple[str | None, ...] = expand_sets(candidate_sets, spec.suite, spec.tasks) or (None,)
    found: list[tuple[Path | None, dict[str, str]]] = []
    for set_id in sets:
        if dry and set_id is not None and candidates is None and locate_made_set(set_id, spec.tasks) is None:
            list_published(set_id, spec.tasks)  # refuses a set that a task has no list in
            found.append((None, {}))  # an estimate fetches neither lists nor data
        else:
            found.append(find_lists(candidates, first_stage, spec.tasks, spec.depth, set_id))
    spec = replace(
        spec,
        model=model,
        options=parse_key_values(options),
        out=out,
        name=check_run_name(name),
        shard=parse_shard(shard),
        limit=limit,
        fresh=fresh,
        allow_failures=allow_failures,
        command=("mrb", *sys.argv[1:]),
    )
    refuse_equal_folders(one for one in sets if one is not None)
    specs = [
        replace(spec, candidates=lists, pulled=pulled, candidate_set=set_id)
        for set_id, (lists, pulled) in zip(sets, found, strict=True)
    ]
    # A run checks its own lists. Those of the other sets are checked before the first set is scored.
    for one in () if dry else specs[1:]:
        check_all_candidates(one.tasks, one.candidates, one.depth)
    announce_model(model, spec.options)
    if dry:
        from mrb.evaluation.dry_run import report_dry_run
        from mrb.evaluation.estimate import assume_scoring, parse_rates, read_parameters, read_rates
        from mrb.evaluation.gpus import find_gpu, load_gpus

        if sum((bool(rates), rates_from is not None, gpu_id is not None)) > 1:
            raise MRBError("give one of --rate, --rates-from and --gpu")
        known, source = None, ""
        if rates:
            known, source = parse_rates(rates), "assumed (--rate)"
        elif rates_from is not None:
            known, source = read_rates(rates_from), f"those measured in {rates_from}"
        elif gpu_id is not None:
            gpu = find_gpu(gpu_id)
            known, source = assume_scoring(read_parameters(model), gpu), f"arithmetic. {load_gpus().describe(gpu)}"
            price = gpu.price if price is None else price
        screen = find_screen()
        for one in specs:
            if len(specs) > 1:
                click.echo(screen.paint(f"candidate set {one.candidate_set}", bold=True))
            for piece in report_dry_run(one, known, source=source, workers=workers or 1, price=price, screen=screen):
                click.echo(piece)
        return
    # The reranker is closed when the results are shown: an error in its `close` takes nothing of them away.
    with ExitStack() as until_shown:
        executors: list[Executor] = []

        def start_once(chosen: str, with_options: Mapping[str, str]) -> AbstractContextManager[Executor]:
            if not executors:  # one model reranks the lists of every set
                executors.append(until_shown.enter_context(start(chosen, with_options)))
            return nullcontext(executors[0])

        done = []
        for one in specs:
            done.append(scored := run(one, start_once))
            if one.shard is not None:
                click.echo(f"shard {one.shard} is scored: {scored.folder}; `mrb merge` merges the shards")
                continue
            click.echo(format_run(scored, screen=find_screen()))
            click.echo(f"results: {scored.folder}")
        if len(done) > 1 and spec.shard is None:
            _print_gains(done)


def _print_gains(runs: Sequence[Run]) -> None:
    """Print the gain over the first stage of each run's candidate set, of runs that have results."""
    from mrb._util.terminal import find_screen
    from mrb.results.first_stages import compute_gains
    from mrb.results.first_stages_table import format_gains

    scored = [one for one in runs if one.tasks]
    if len(scored) > 1:
        click.echo("\n" + "\n".join(format_gains(compute_gains(scored), find_screen())))
