"""`mrb score`: measure scores that another tool made."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb._util.files import check_run_name
from mrb.cli.options import (
    add_candidates_option,
    add_depth_option,
    add_out_option,
    add_score_file_options,
    add_single_task_option,
    add_suite_option,
)
from mrb.errors import ResultError

if TYPE_CHECKING:
    from mrb.candidates.score_files import Format
    from mrb.results.schema import Kind


@click.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@add_single_task_option("The task that the scores are for; required.")
@add_candidates_option()
@add_suite_option("Use depth and sample of this suite, e.g. mrb-lite.")
@add_depth_option("Candidates per query. Default: the suite's.")
@add_score_file_options()
@click.option("--kind", type=click.Choice(["pointwise", "setwise", "listwise"]), default="setwise", show_default=True)
@click.option("--blind", is_flag=True, help="State that the scores do not use first-stage ranks or scores.")
@click.option("--raw-qrels", is_flag=True, help="Keep judgements of documents that the corpus lacks.")
@click.option("--name", metavar="NAME", help="The reranker's name. Default: the file's.")
@add_out_option(help="Write a run into this folder.")
def command(
    file: Path,
    task_id: str | None,
    candidates: str | None,
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
    """Measure the scores in FILE on a task, and print a table.

    FILE is a TREC run, a parquet of query_id, doc_id, score, a prediction file of mteb, or a result of RankLLM. It
    must score every candidate of the task's list.
    """
    from mrb._util.terminal import find_screen
    from mrb.candidates.pull_lists import find_local_lists
    from mrb.candidates.task_scores import read_task_scores
    from mrb.evaluation.foreign_scores import make_file_info, make_run, score_file, write_scored
    from mrb.evaluation.spec import select_tasks
    from mrb.results.table import format_run

    if file.is_dir():
        raise ResultError(f"`mrb score RUN` is now `mrb recompute {file}`")
    if task_id is None:
        raise ResultError(f"{file}: to score a file, name its task with --task")
    spec = select_tasks(suite_id, [task_id], [], depth, "raw" if raw_qrels else "cleaned")
    info = make_file_info(file, spec.tasks[0], name=check_run_name(name), kind=kind, uses_first_stage=not blind)
    scores = read_task_scores(file, spec.tasks[0], form, subset=subset, split=split)
    lists, _ = find_local_lists(candidates, spec.tasks)
    scored = score_file(replace(spec, candidates=lists).task_spec(spec.tasks[0]), scores, info, str(file))
    run = make_run(scored, ("mrb", *sys.argv[1:]))
    click.echo(format_run(run, screen=find_screen()))
    if out is not None:
        write_scored(out / info.name, scored, run.record.command)
        click.echo(f"results: {out / info.name}")
