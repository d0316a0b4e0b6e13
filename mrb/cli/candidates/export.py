"""`mrb candidates export`: lists in the forms that mteb reads."""

from __future__ import annotations

from pathlib import Path

import click

from mrb.cli.options import add_out_option, file_type


@click.command("export")
@click.argument("file", type=file_type(exists=True))
@click.option(
    "--format",
    "form",
    type=click.Choice(["top_ranked", "mteb"]),
    default="top_ranked",
    show_default=True,
    help="A data set's table top_ranked, or mteb's prediction file.",
)
@add_out_option("exported")
def export(file: Path, form: str, out: Path) -> None:
    """Write the candidate list FILE for mteb.

    top_ranked writes OUT/TASK/top_ranked/, the table of a data set for reranking: the order, without scores. mteb
    writes OUT/<mteb's name>_predictions.json, from which `convert_to_reranking` of mteb's own task reranks;
    CQADupStack has twelve. `mrb candidates show --trec` writes a TREC run.
    """
    from mrb.candidates.export_lists import write_predictions, write_top_ranked
    from mrb.candidates.lists import read_parquet
    from mrb.data.own_tasks import resolve_task

    candidates = read_parquet(file)
    task = resolve_task(candidates.provenance.task)
    if form == "mteb":
        written = write_predictions(candidates, task, out)
    else:
        written = write_top_ranked(candidates, task, out / task.id)
    for path in written:
        click.echo(str(path))
