"""`mrb train data`: groups to train on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb.cli.options import (
    LISTS,
    add_candidates_option,
    add_depth_option,
    add_out_option,
    add_suite_option,
    add_task_option,
    find_tasks,
)

if TYPE_CHECKING:
    from mrb.training.data.rows import Form


@click.command()
@add_task_option("Groups of this task; may be repeated.")
@add_suite_option("Groups of all tasks of this suite.")
@click.option("--first-stage", metavar="NAME", help="Finds hard negatives. Default: the task's own first stage.")
@add_candidates_option(f"Hard negatives instead of a search. {LISTS}")
@add_depth_option("Hard negatives at most.", default=100, least=0)
@click.option("--random", type=click.IntRange(0, 10_000), default=32, show_default=True, help="Random negatives.")
@click.option("--format", "form", type=click.Choice(["jsonl", "parquet"]), default="jsonl", show_default=True)
@click.option("--embed", is_flag=True, help="Put images into the file itself, not into images/ next to it.")
@add_out_option("groups")
def data(
    task_ids: tuple[str, ...],
    suite_id: str | None,
    first_stage: str | None,
    candidates: str | None,
    depth: int,
    random: int,
    form: Form,
    embed: bool,
    out: Path,
) -> None:
    """Make groups from tasks with judgements: queries, relevant documents, hard and random negatives.

    Items of the test data of tasks on this disk are left out and counted.
    """
    from mrb.candidates.pull_lists import find_local_lists
    from mrb.data.load import load_task_data
    from mrb.training.data.contamination import list_held_out, load_held_out
    from mrb.training.data.mine_negatives import BuildOptions
    from mrb.training.data.write_dataset import make_groups, summarize_record

    tasks = find_tasks(task_ids, suite_id)
    lists, _ = find_local_lists(candidates, tasks)
    options = BuildOptions(depth, random)
    index = load_held_out(list_held_out())
    for task in tasks:
        data = load_task_data(task)
        record = make_groups(
            data, out, index, first_stage=first_stage, candidates=lists, options=options, form=form, embed=embed
        )
        for line in summarize_record(record, out / f"{task.id}.{form}"):
            click.echo(line)
