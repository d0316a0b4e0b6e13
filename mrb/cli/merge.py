"""`mrb merge`: merge the shards of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mrb.cli.options import DATA_OF_RUN, LISTS, add_candidates_option, add_data_option, folder_type, open_all_data


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--out", required=True, metavar="RUN", type=folder_type(), help="Folder of the whole run.")
@add_candidates_option(f"What the shards were run on. {LISTS}")
@click.option("--candidate-set", metavar="NAME", help="The candidate set that the shards were run on.")
@add_data_option(DATA_OF_RUN)
def command(
    runs: tuple[Path, ...], out: Path, candidates: str | None, candidate_set: str | None, data: tuple[str, ...]
) -> None:
    """Merge the shards that `mrb run --shard I/N` has scored into the run of all queries, and print its table.

    All shards must be there and belong to one run: the same reranker, source, packages, tasks and lists. The files
    equal those of a run without shards.
    """
    from mrb._util.terminal import find_screen
    from mrb.evaluation.merge import merge_shards, read_shards
    from mrb.results.table import format_run
    from mrb.retrieval.own_lists import find_lists

    open_all_data(data)
    shards = read_shards(runs)
    record = shards[0].record
    tasks = [record.get_task(task_id) for task_id in record.tasks]
    lists, _ = find_lists(candidates, None, tasks, shards[0].options.depth, candidate_set)
    run = merge_shards(shards, out, lists, ("mrb", *sys.argv[1:]))
    click.echo(format_run(run, screen=find_screen()))
    click.echo(f"results: {out}")
