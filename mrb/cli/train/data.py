"""`mrb train data`: groups to train on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb.cli.options import (
    LISTS,
    add_candidates_option,
    add_data_option,
    add_depth_option,
    add_out_option,
    add_suite_option,
    add_task_option,
    file_type,
    find_tasks,
    parse_key_values,
    set_option,
)

if TYPE_CHECKING:
    from mrb.data.task import Task
    from mrb.training.data.own_groups import OwnGroups
    from mrb.training.data.rows import Form


@click.command()
@add_task_option("Groups of this task; may be repeated.")
@add_suite_option("Groups of all tasks of this suite.")
@add_data_option(
    "Groups of your own data: a folder, or a Hub data set in mteb's layout (hf://datasets/ORG/NAME@COMMIT); may be "
    "repeated."
)
@click.option(
    "--from",
    "given",
    type=(click.Choice(["groups", "sentence-transformers", "ms-swift", "m-beir"]), str),
    metavar="FORMAT FILE|hf://...",
    help="Groups of a file of sentence-transformers or ms-swift (.jsonl or .parquet), of a Hub data set with such rows "
    "(hf://datasets/ORG/NAME[@REVISION]), or of M-BEIR's folder. groups: own groups (a file, pattern or folder), whose "
    "negatives --first-stage finds among their documents.",
)
@click.option("--config", help="With --from hf://...: the configuration. Default: default, or the only one.")
@click.option("--split", help="With hf://...: the split. Default: train.")
@click.option(
    "--columns", default="", metavar="ROLE=COLUMN,...", help="With --from: the columns of query, positive, negative."
)
@click.option("--name", help="With --from: the source of the groups. Default: the file's name.")
@click.option("--instruction", default="", help="The instruction of --data, or with --from of rows that have none.")
@click.option(
    "--images", type=click.Path(path_type=Path), help="With --from: the folder of the images. Default: the file's."
)
@click.option("--first-stage", metavar="NAME", help="Finds hard negatives. Default: the task's own first stage.")
@add_candidates_option(f"Hard negatives instead of a search. {LISTS}")
@add_depth_option("Hard negatives at most.", default=100, least=0)
@click.option("--margin", type=float, help="A hard negative scores at least this much below the query's positives.")
@click.option(
    "--percent", type=click.FloatRange(0, 100), help="A hard negative scores at most this percentage of the positives."
)
@click.option("--corpus", type=file_type(), help="With --from groups: more documents, as BEIR's corpus.jsonl.")
@click.option(
    "--teacher", metavar="NAME", help="With --from groups: the reranker whose scores each document gets, as in mrb run."
)
@set_option("An option of the teacher; may be repeated.")
@click.option("--fresh", is_flag=True, help="With --teacher: score again what it scored before.")
@click.option("--random", type=click.IntRange(0, 10_000), default=32, show_default=True, help="Random negatives.")
@click.option("--format", "form", type=click.Choice(["jsonl", "parquet"]), default="jsonl", show_default=True)
@click.option("--embed", is_flag=True, help="Put images into the file itself, not into images/ next to it.")
@add_out_option("groups")
def data(
    task_ids: tuple[str, ...],
    suite_id: str | None,
    data: tuple[str, ...],
    given: tuple[str, str] | None,
    config: str | None,
    split: str | None,
    columns: str,
    name: str | None,
    instruction: str,
    images: Path | None,
    first_stage: str | None,
    candidates: str | None,
    depth: int,
    margin: float | None,
    percent: float | None,
    corpus: Path | None,
    teacher: str | None,
    options: tuple[str, ...],
    fresh: bool,
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
    from mrb.data.own_tasks import open_data
    from mrb.errors import TrainingError
    from mrb.hub.address import is_address, parse_address
    from mrb.training.data.columns import parse_columns
    from mrb.training.data.contamination import list_held_out, load_held_out
    from mrb.training.data.convert import ConvertOptions, convert_file
    from mrb.training.data.files import find_group_files
    from mrb.training.data.mine_negatives import BuildOptions
    from mrb.training.data.own_groups import make_own_tasks
    from mrb.training.data.teacher import refuse_equal_names, write_teacher
    from mrb.training.data.write_dataset import make_groups, summarize_record

    kind, place = given or (None, "")
    if kind is not None and (task_ids or suite_id or data):
        raise TrainingError("give tasks, --data or --from, one of them")
    if (corpus or teacher) is not None and kind != "groups":
        raise TrainingError("--corpus and --teacher work with --from groups only")
    if (options or fresh) and teacher is None:
        raise TrainingError("--set and --fresh work with --teacher only")
    if (config or split) is not None and not any(map(is_address, (place, *data))):
        raise TrainingError("--config and --split name a part of a Hub data set (hf://...)")
    if kind not in (None, "groups"):
        if first_stage or candidates or margin is not None or percent is not None:
            raise TrainingError(f"{place}: has its own negatives; convert it, then mine others with --from groups")
        said = ConvertOptions(name, instruction, images, random, parse_columns(columns), config, split or "train")
        path = parse_address(place) if is_address(place) else Path(place)
        index = load_held_out(list_held_out())
        record, written = convert_file(kind, path, out, index, options=said, form=form, embed=embed)
        for line in summarize_record(record, written):
            click.echo(line)
        return
    if teacher is not None:
        if first_stage is not None:
            raise TrainingError("give --first-stage or --teacher: find the negatives first, then their scores")
        index, chosen = load_held_out(list_held_out()), parse_key_values(options)
        files = find_group_files([place])
        refuse_equal_names(files)
        for file in files:
            record, written = write_teacher(file, teacher, chosen, out, index, form, embed=embed, fresh=fresh)
            for line in summarize_record(record, written):
                click.echo(line)
        return
    build = BuildOptions(depth, random, margin, percent)
    if kind == "groups":
        if first_stage is None:
            raise TrainingError(
                f"{place}: are groups already; to find other negatives give --first-stage NAME, for scores --teacher"
            )
        own = make_own_tasks(find_group_files([place]), corpus)
        wanted: list[tuple[Task, OwnGroups | None]] = [(one.task, one) for one in own]
    else:
        tasks = [open_data(one, split or ("train" if is_address(one) else None), instruction) for one in data]
        if task_ids or suite_id or not data:
            tasks += find_tasks(task_ids, suite_id)
        wanted = [(task, None) for task in tasks]
    lists, _ = find_local_lists(candidates, [task for task, _ in wanted])
    index = load_held_out(list_held_out())
    for task, groups in wanted:
        record = make_groups(
            load_task_data(task),
            out,
            index,
            first_stage=first_stage,
            candidates=lists,
            options=build,
            form=form,
            embed=embed,
            own=groups,
        )
        for line in summarize_record(record, out / f"{task.id}.{form}"):
            click.echo(line)
