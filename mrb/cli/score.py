"""`mrb score`: numbers without a model, from a run's journals or from a file of scores."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mrb.candidates.score_files import Format
    from mrb.rerankers.reranker import Kind


@click.command()
@click.argument("path", metavar="RUN|FILE", type=click.Path(exists=True, path_type=Path))
@click.option("--candidates", metavar="PATH|hf://...", help="A list, or a folder of lists, as in run.")
@click.option("--write", is_flag=True, help="RUN: write its files again from the journals.")
@click.option("--task", "task_id", metavar="ID", help="FILE: the task that its scores are for.")
@click.option("--suite", "suite_id", metavar="ID", help="FILE: take depth and sample of this suite, e.g. mrb-lite.")
@click.option("--depth", type=click.IntRange(1, 10_000), help="FILE: candidates a query. Default: the suite's.")
@click.option("--format", "form", type=click.Choice(["trec", "mteb", "parquet"]), help="FILE: default by its name.")
@click.option("--subset", help="FILE from mteb: which subset, if it has several.")
@click.option("--split", help="FILE from mteb: which split, if it has several.")
@click.option("--kind", type=click.Choice(["pointwise", "setwise", "listwise"]), default="setwise", show_default=True)
@click.option("--blind", is_flag=True, help="FILE: state that the scores do not use first-stage ranks or scores.")
@click.option("--raw-qrels", is_flag=True, help="FILE: keep judgements of documents that the corpus lacks.")
@click.option("--name", metavar="NAME", help="FILE: the reranker's name. Default: the file's.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="FILE: write a run into this folder.")
def command(
    path: Path,
    candidates: str | None,
    write: bool,
    task_id: str | None,
    suite_id: str | None,
    depth: int | None,
    form: Format | None,
    subset: str | None,
    split: str | None,
    kind: Kind,
    blind: bool,
    raw_qrels: bool,
    name: str | None,
    out: Path | None,
) -> None:
    """Recompute every number of RUN from its journals, or, with --task, measure the scores in FILE.

    A RUN whose files say anything else ends with exit code 2 and one line for each difference. FILE is a TREC run, a
    parquet of query_id, doc_id, score, or an mteb prediction file; it must score every candidate of the task's list.
    """
    from mrb.errors import ResultError

    if task_id is None:
        if path.is_file():
            raise ResultError(f"{path}: to score a file, name its task with --task")
        if raw_qrels:
            raise ResultError("--raw-qrels is for a FILE, with --task; a run is scored as its results say")
        _run(path, candidates, write=write)
        return
    if write:
        raise ResultError("--write is for runs; scores in a file are written with --out FOLDER")
    from mrb.candidates.score_files import read_scores
    from mrb.cli.options import run_name
    from mrb.evaluation.spec import select_tasks
    from mrb.hub.pull_lists import find_local_lists
    from mrb.results.foreign_scores import describe_file, make_run, score_file, write_scored
    from mrb.results.run import format_run

    spec = select_tasks(suite_id, [task_id], [], depth, "raw" if raw_qrels else "cleaned")
    info = describe_file(path, spec.tasks[0], name=run_name(name), kind=kind, uses_first_stage=not blind)
    scores = read_scores(path, form, subset=subset, split=split)
    lists, _ = find_local_lists(candidates, spec.tasks, lambda line: click.echo(line, err=True))
    scored = score_file(replace(spec, candidates=lists).task_spec(spec.tasks[0]), scores, info, str(path))
    run = make_run(scored, ("mrb", *sys.argv[1:]))
    click.echo(format_run(run))
    if out is not None:
        write_scored(out / info.name, scored, run.record.command)
        click.echo(f"results: {out / info.name}")


def _run(folder: Path, candidates: str | None, *, write: bool) -> None:
    """Every task of the run; all are told, and the exit code is 2 if any is not what its journal gives."""
    from mrb.data.task import load_task
    from mrb.errors import MRBError, one_line
    from mrb.hub.pull_lists import find_local_lists
    from mrb.results.recompute import verify_task
    from mrb.results.schema import read_run

    record = read_run(folder)
    not_covered = {item.task for item in record.not_covered}
    scored = [task for task in record.tasks if task not in not_covered]
    lists, _ = find_local_lists(
        candidates, [load_task(task) for task in scored], lambda line: click.echo(line, err=True)
    )
    wrong = 0
    for task in scored:
        try:
            differences = verify_task(folder / task, lists, write=write)
        except MRBError as error:
            wrong += 1
            click.echo(one_line(f"mrb: {error}", 1000), err=True)
            continue
        if not differences:
            click.echo(f"{task}: identical")
        elif write:
            click.echo(f"{task}: written again, differences gone: {len(differences)}")
        else:
            wrong += 1
            for difference in differences:
                click.echo(one_line(f"mrb: {task}: {difference}", 1000), err=True)
    if wrong:
        raise click.exceptions.Exit(2)
