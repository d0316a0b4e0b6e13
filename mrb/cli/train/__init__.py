"""`mrb train RECIPE`: train a reranker."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mrb.cli.options import add_change_option, add_out_option
from mrb.cli.train.check import check
from mrb.cli.train.data import data
from mrb.cli.train.sweep import sweep


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

    `mrb train RECIPE --help` tells more. Killed at any moment, the same command continues after its last checkpoint.
    """


@command.command(RECIPE)
@click.argument("recipe", metavar="RECIPE")
@add_change_option("A setting of the recipe; may be repeated.")
@add_out_option(help="Default: training/RECIPE.")
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
        from mrb.training.dry_run import report_dry_run

        for line in report_dry_run(loaded):
            click.echo(line)
        return
    from mrb.training.run import train

    folder = out or Path("training") / loaded.name
    train(loaded, folder, fresh=fresh, command=("mrb", *sys.argv[1:]))


command.add_command(check)
command.add_command(data)
command.add_command(sweep)
