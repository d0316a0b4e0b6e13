"""`mrb merge`: the parts of a run put together."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--out", required=True, metavar="RUN", type=click.Path(file_okay=False, path_type=Path))
@click.option("--candidates", metavar="PATH|hf://...", help="The list, or folder of lists, that the parts were run on.")
def command(runs: tuple[Path, ...], out: Path, candidates: str | None) -> None:
    """Put the parts that `mrb run --shard I/N` has scored together, as the run of all queries, and print its table.

    All parts must be there and be of one run: the same reranker, source, packages, tasks and lists. The files are those
    that an undivided run ends in.
    """
    from mrb.data.task import load_task
    from mrb.evaluation.merge import merge, read_pieces
    from mrb.hub.pull_lists import find_local_lists
    from mrb.results.run import load_run, table

    def say(line: str) -> None:
        click.echo(line, err=True)

    pieces = read_pieces(runs)
    lists, _ = find_local_lists(candidates, [load_task(task_id) for task_id in pieces[0].record.tasks], say)
    merge(pieces, out, lists, ("mrb", *sys.argv[1:]), say)
    click.echo(table(load_run(out)))
    click.echo(f"results: {out}")
