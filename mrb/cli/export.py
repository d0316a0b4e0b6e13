"""`mrb export`: a run as TREC run files, CSV or a LaTeX table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb.cli.options import add_task_option

if TYPE_CHECKING:
    from mrb.results.run import Run


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "form", required=True, type=click.Choice(["trec", "csv", "latex"]))
@click.option("--measure", default="nDCG@10", show_default=True, metavar="NAME", help="latex: by which measure.")
@add_task_option("trec: only this task; may be repeated.")
@click.option("--raw-scores", is_flag=True, help="trec: the reranker's scores; a reader may order ties otherwise.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; for several TREC runs, a folder.")
def command(run: Path, form: str, measure: str, task_ids: tuple[str, ...], raw_scores: bool, out: Path | None) -> None:
    """Write the run folder RUN for other tools, to standard output or to --out.

    A TREC run file holds one task: several go into a folder as <task>.trec, with scores that keep MRB's order.
    """
    from mrb.results.export import format_csv, format_latex
    from mrb.results.run import load_run

    loaded = load_run(run)
    if form == "trec":
        _trec(loaded, task_ids or tuple(loaded.tasks), out, raw=raw_scores)
    else:
        _put(format_csv(loaded) if form == "csv" else format_latex(loaded, measure), out)


def _trec(run: Run, task_ids: Sequence[str], out: Path | None, *, raw: bool) -> None:
    from mrb.errors import ResultError
    from mrb.results.export import format_trec

    several = len(task_ids) > 1 or (out is not None and out.is_dir())
    if several and (out is None or out.is_file()):
        raise ResultError(f"{run.folder}: {len(task_ids)} tasks, a TREC run file each: name a folder with --out")
    for task_id in task_ids:
        text = "".join(f"{line}\n" for line in format_trec(run, task_id, raw=raw))
        _put(text, out / f"{task_id}.trec" if out is not None and several else out)


def _put(text: str, out: Path | None) -> None:
    if out is None:
        click.echo(text, nl=False)
        return
    from mrb._util.files import write_bytes

    write_bytes(out, text.encode())
    click.echo(f"written: {out}", err=True)
