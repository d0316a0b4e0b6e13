"""`mrb export`: runs as tables, TREC run files, metadata of the Hub, or in an experiment tracker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb.cli.options import add_suite_option, add_task_option
from mrb.errors import MRBError

if TYPE_CHECKING:
    from mrb.results.run import Run

TABLES = ("csv", "latex", "markdown")
FORMATS = ("trec", *TABLES, "model-index", "eval-results")
TRACKERS = ("tensorboard", "trackio", "wandb")


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), help="The format to write.")
@click.option("--to", "tracker", type=click.Choice(TRACKERS), help="Log to this tracker instead, if it is installed.")
@click.option(
    "--measure",
    default="nDCG@10",
    show_default=True,
    metavar="NAME",
    help="The measure, for latex, markdown and several runs.",
)
@click.option("--intervals", is_flag=True, help="For markdown and several runs: also write 95 % intervals.")
@add_suite_option("Only the tasks and averages of this suite or sub-suite.")
@click.option(
    "--first-stages", is_flag=True, help="csv, latex, markdown: gains over the first stages of runs on several sets."
)
@add_task_option("trec: only this task; may be repeated.")
@click.option("--raw-scores", is_flag=True, help="trec: the reranker's scores; a reader may order ties otherwise.")
@click.option("--benchmark", metavar="ORG/NAME[@REVISION]", help="eval-results: the Hub data set that names the tasks.")
@click.option("--project", default="mrb", show_default=True, metavar="NAME", help="wandb, trackio: the project.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="File to write; a folder for several TREC runs or event files."
)
def command(
    runs: tuple[Path, ...],
    form: str | None,
    tracker: str | None,
    measure: str,
    intervals: bool,
    suite_id: str | None,
    first_stages: bool,
    task_ids: tuple[str, ...],
    raw_scores: bool,
    benchmark: str | None,
    project: str,
    out: Path | None,
) -> None:
    """Write run folders for other tools, to standard output or to --out, or log them to a tracker.

    csv, latex and markdown take several runs: tasks are rows, runs are columns, and the best of a row, which may be the
    first stage, is bold. A TREC run file holds one task: several go into a folder as <task>.trec, with scores that keep
    MRB's order.
    """
    from mrb.results.run import load_run
    from mrb.results.sub_suites import restrict_runs

    if (form is None) == (tracker is None):
        raise MRBError(f"give either --format ({', '.join(FORMATS)}) or --to ({', '.join(TRACKERS)})")
    if (benchmark is not None) != (form == "eval-results"):
        raise MRBError("--benchmark ORG/NAME is for --format eval-results, which needs it")
    if len(runs) > 1 and form not in (None, *TABLES):
        raise MRBError(f"--format {form} takes one run; several go into one table with {', '.join(TABLES)}")
    if first_stages and form not in TABLES:
        raise MRBError(f"--first-stages is for --format {', '.join(TABLES)}")
    loaded = restrict_runs([load_run(run) for run in runs], suite_id)
    if first_stages:
        _put(_format_first_stages(loaded, form or "", measure), out)
        return
    if tracker is not None:
        from mrb.results.trackers import log_run

        for one in loaded:
            click.echo(log_run(one, tracker, project=project, folder=out))
    elif form == "trec":
        _trec(loaded[0], task_ids or tuple(loaded[0].tasks), out, raw=raw_scores)
    else:
        _put(_format(loaded, form or "", measure, intervals, benchmark or ""), out)


def _format(runs: Sequence[Run], form: str, measure: str, intervals: bool, benchmark: str) -> str:
    from mrb.results.export import format_csv, format_latex
    from mrb.results.export_table import format_csv_runs, format_latex_runs, format_markdown_runs
    from mrb.results.hub_metadata import format_eval_results, format_model_index

    if form == "model-index":
        return format_model_index(runs[0])
    if form == "eval-results":
        return format_eval_results(runs[0], benchmark, measure)
    if form == "markdown":
        return format_markdown_runs(runs, measure, intervals)
    if form == "csv":
        return format_csv(runs[0]) if len(runs) == 1 else format_csv_runs(runs, measure, intervals)
    return format_latex(runs[0], measure) if len(runs) == 1 else format_latex_runs(runs, measure, intervals)


def _format_first_stages(runs: Sequence[Run], form: str, measure: str) -> str:
    from mrb.results.first_stages import compute_gains
    from mrb.results.first_stages_table import format_gains_csv, format_gains_latex, format_gains_markdown

    write = {"csv": format_gains_csv, "latex": format_gains_latex, "markdown": format_gains_markdown}[form]
    return write(compute_gains(runs, measure))


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
