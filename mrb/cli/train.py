"""`mrb train RECIPE`: train a reranker; `mrb train data`: make groups to train on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb.errors import TrainingError

if TYPE_CHECKING:
    from mrb.training.data.files import Form


class RecipeGroup(click.Group):
    """A group whose first word is a recipe unless it is one of its commands."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is named, else the hidden one that trains the recipe that is."""
        name = args[0] if args and args[0] in self.commands else RECIPE
        return name, self.commands[name], args[1:] if name != RECIPE else args

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(name for name in self.commands if name != RECIPE)


RECIPE = "recipe"


@click.group(
    cls=RecipeGroup,
    subcommand_metavar="RECIPE [--set SECTION.NAME=VALUE] [--out FOLDER] [--dry-run] [--fresh] | COMMAND [ARGS]...",
)
def command() -> None:
    """Train the reranker that RECIPE describes: a .toml file, or the name of one that ships.

    `mrb train RECIPE --help` tells more. Killed at any moment, the same command goes on after its last checkpoint.
    """


@command.command(RECIPE)
@click.argument("recipe", metavar="RECIPE")
@click.option("--set", "changes", multiple=True, metavar="SECTION.NAME=VALUE", help="A setting of the recipe; repeat.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Default: training/RECIPE.")
@click.option("--fresh", is_flag=True, help="Discard the run that the folder holds and start over.")
@click.option("--dry-run", "dry", is_flag=True, help="Print data, steps, tokens and memory; load no weights.")
def recipe(recipe: str, changes: tuple[str, ...], out: Path | None, fresh: bool, dry: bool) -> None:
    """Train the reranker that RECIPE describes: a .toml file, or the name of one that ships.

    Several processes: accelerate launch --num_processes N -m mrb train RECIPE ...
    """
    from mrb.engine.checkpoint import require
    from mrb.training.recipe import load_recipe

    loaded = load_recipe(recipe, changes)
    require("training", "torch", "transformers", "accelerate", "peft", extra="train")
    if dry:
        from mrb.training.dry_run import dry_run

        dry_run(loaded, click.echo)
        return
    from mrb.training.run import train

    folder = out or Path("training") / loaded.name
    train(loaded, folder, fresh=fresh, command=("mrb", *sys.argv[1:]), say=click.echo)


@command.command()
@click.option("--task", "task_ids", multiple=True, metavar="ID", help="Groups of this task; may be repeated.")
@click.option("--suite", "suite_id", metavar="ID", help="Groups of all tasks of this suite.")
@click.option("--first-stage", metavar="NAME", help="Finds hard negatives. Default: the task's own first stage.")
@click.option(
    "--candidates",
    metavar="PATH|hf://...",
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
    candidates: str | None,
    depth: int,
    random: int,
    form: Form,
    embed: bool,
    out: Path,
) -> None:
    """Make groups from tasks with judgements: queries, relevant documents, hard and random negatives.

    What stands in the test data of a task on this disk is left out, and counted.
    """
    from mrb.data.load import load_task_data
    from mrb.data.task import list_suite_tasks, load_suite, load_task
    from mrb.hub.pull_lists import find_local_lists
    from mrb.training.data.contamination import list_held_out, load_held_out
    from mrb.training.data.mine_negatives import BuildOptions
    from mrb.training.data.write_dataset import make_groups, summarize_record

    if bool(task_ids) == bool(suite_id):
        raise TrainingError("name the tasks: either --task ID (may be repeated) or --suite ID")
    tasks = list_suite_tasks(load_suite(suite_id)) if suite_id else [load_task(task_id) for task_id in task_ids]
    lists, _ = find_local_lists(candidates, tasks, lambda line: click.echo(line, err=True))
    options = BuildOptions(depth, random)
    index = load_held_out(list_held_out(), lambda line: click.echo(line, err=True))
    for task in tasks:
        data = load_task_data(task)
        record = make_groups(
            data, out, index, first_stage=first_stage, candidates=lists, options=options, form=form, embed=embed
        )
        for line in summarize_record(record, out / f"{task.id}.{form}"):
            click.echo(line)


@command.command()
@click.argument("name", metavar="SWEEP")
@click.option("--set", "changes", multiple=True, metavar="SECTION.NAME=VALUE", help="A setting of all arms; repeat.")
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(0), help="Instead of the sweep's seeds; repeat.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Default: training/SWEEP.")
@click.option("--report", "only_report", is_flag=True, help="Train nothing; show the results of what is finished.")
def sweep(name: str, changes: tuple[str, ...], seeds: tuple[int, ...], out: Path | None, only_report: bool) -> None:
    """Train one recipe in several arms, each with several seeds, and keep a table of the results.

    SWEEP is a .toml file, or the name of one that ships (url-grid). Killed at any moment, the same command goes on, and
    what is finished is not made again. results.csv in the folder is written anew after every run.
    """
    from mrb.engine.checkpoint import require
    from mrb.training.sweep import default_folder, format_results, load_sweep, run_sweep, write_results

    folder = out or default_folder(name)
    loaded = load_sweep(name, folder, changes, seeds)
    require("training", "torch", "transformers", "accelerate", "peft", extra="train")
    from mrb.training.run import train

    command = ("mrb", *sys.argv[1:])
    if not only_report:
        run_sweep(
            loaded,
            folder,
            train=lambda run: train(run.loaded, run.folder, fresh=False, command=command, say=click.echo),
            say=click.echo,
        )
    path = write_results(loaded, folder)
    for line in format_results(loaded):
        click.echo(line)
    click.echo(f"results: {path}")
