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
@click.option(
    "--from",
    "given",
    type=(click.Choice(["sentence-transformers", "ms-swift", "m-beir"]), click.Path(path_type=Path)),
    metavar="FORMAT FILE",
    help="Groups of a file of sentence-transformers or ms-swift (.jsonl or .parquet), or of M-BEIR's folder.",
)
@click.option("--name", help="With --from: the source of the groups. Default: the file's name.")
@click.option("--instruction", default="", help="With --from: the instruction of rows that have none.")
@click.option(
    "--images", type=click.Path(path_type=Path), help="With --from: the folder of the images. Default: the file's."
)
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
    given: tuple[str, Path] | None,
    name: str | None,
    instruction: str,
    images: Path | None,
    first_stage: str | None,
    candidates: str | None,
    depth: int,
    random: int,
    form: Form,
    embed: bool,
    out: Path,
) -> None:
    """Make groups from tasks with judgements: queries, relevant documents, hard and random negatives.

    Or convert groups of another tool, with its negatives.

    Items of the test data of tasks on this disk are left out and counted.
    """
    from mrb.candidates.pull_lists import find_local_lists
    from mrb.data.load import load_task_data
    from mrb.errors import TrainingError
    from mrb.training.data.contamination import list_held_out, load_held_out
    from mrb.training.data.convert import convert_file
    from mrb.training.data.mine_negatives import BuildOptions
    from mrb.training.data.write_dataset import make_groups, summarize_record

    if given is not None:
        if task_ids or suite_id:
            raise TrainingError("give tasks or --from, not both")
        index = load_held_out(list_held_out())
        record, written = convert_file(
            *given,
            out,
            index,
            source=name,
            instruction=instruction,
            images=images,
            random=random,
            form=form,
            embed=embed,
        )
        for line in summarize_record(record, written):
            click.echo(line)
        return
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
