"""`mrb train sweep`: one recipe in several arms, with several seeds."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mrb.cli.options import add_change_option, add_out_option


@click.command()
@click.argument("name", metavar="SWEEP")
@add_change_option("A setting of all arms; may be repeated.")
@click.option(
    "--seed", "seeds", multiple=True, type=click.IntRange(0), help="Instead of the sweep's seeds; may be repeated."
)
@add_out_option(help="Default: training/SWEEP.")
@click.option("--report", "only_report", is_flag=True, help="Train nothing; show the results of what is finished.")
def sweep(name: str, changes: tuple[str, ...], seeds: tuple[int, ...], out: Path | None, only_report: bool) -> None:
    """Train one recipe in several arms, each with several seeds, and keep a table of the results.

    SWEEP is a .toml file, or the name of one that ships (url-grid). Killed at any moment, the same command continues,
    and finished runs are kept. results.csv in the folder is written again after every run.
    """
    from mrb.engine.checkpoint import require
    from mrb.training.sweep import find_default_folder, format_results, load_sweep, run_sweep, write_results

    folder = out or find_default_folder(name)
    loaded = load_sweep(name, folder, changes, seeds)
    require("training", "torch", "transformers", "accelerate", "peft", extra="train")
    from mrb.training.run import train

    command = ("mrb", *sys.argv[1:])
    if not only_report:
        run_sweep(
            loaded,
            folder,
            train=lambda run: train(run.loaded, run.folder, fresh=False, command=command),
        )
    path = write_results(loaded, folder)
    for line in format_results(loaded):
        click.echo(line)
    click.echo(f"results: {path}")
