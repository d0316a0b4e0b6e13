"""`mrb train RECIPE`: train a reranker; `mrb train data`: make groups to train on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb.errors import TrainingError

if TYPE_CHECKING:
    from mrb.training.data.files import Form


@click.group()
def command() -> None:
    """Train rerankers."""


@command.command()
@click.option("--task", "task_ids", multiple=True, metavar="ID", help="Groups of this task; may be repeated.")
@click.option("--suite", "suite_id", metavar="ID", help="Groups of all tasks of this suite.")
@click.option("--first-stage", metavar="NAME", help="Finds hard negatives. Default: the task's own first stage.")
@click.option(
    "--candidates",
    type=click.Path(exists=True, path_type=Path),
    help="A candidate list, or a folder of <task>.parquet, instead of a search.",
)
@click.option("--depth", type=click.IntRange(0, 10_000), default=100, show_default=True, help="Hard negatives at most.")
@click.option("--random", type=click.IntRange(0, 10_000), default=32, show_default=True, help="Random negatives.")
@click.option("--format", "form", type=click.Choice(["jsonl", "parquet"]), default="jsonl", show_default=True)
@click.option("--embed", is_flag=True, help="Put images into the file itself, not into images/ beside it.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("groups"), show_default=True)
def data(
    task_ids: tuple[str, ...],
    suite_id: str | None,
    first_stage: str | None,
    candidates: Path | None,
    depth: int,
    random: int,
    form: Form,
    embed: bool,
    out: Path,
) -> None:
    """Make groups from tasks with judgements: queries, relevant documents, hard and random negatives.

    What stands in the test data of a task on this disk is left out, and counted.
    """
    from mrb.task import load_suite, load_task, suite_tasks
    from mrb.training.data.build import BuildOptions
    from mrb.training.data.contamination import held_out_index, held_out_tasks
    from mrb.training.data.make import make_groups, summary

    if bool(task_ids) == bool(suite_id):
        raise TrainingError("name the tasks: either --task ID (may be repeated) or --suite ID")
    tasks = suite_tasks(load_suite(suite_id)) if suite_id else [load_task(task_id) for task_id in task_ids]
    options = BuildOptions(depth, random)
    index = held_out_index(held_out_tasks(), lambda line: click.echo(line, err=True))
    for task in tasks:
        record = make_groups(
            task, out, index, first_stage=first_stage, candidates=candidates, options=options, form=form, embed=embed
        )
        for line in summary(record, out / f"{task.id}.{form}"):
            click.echo(line)
