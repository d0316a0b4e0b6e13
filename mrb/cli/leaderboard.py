"""`mrb leaderboard`: static pages from runs."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def command() -> None:
    """Build the board from runs."""


@command.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("site"), show_default=True)
def build(runs: tuple[Path, ...], out: Path) -> None:
    """Write one page with the results of RUNS, folders that `mrb run` made, and copies of their files.

    Runs that do not compare (another candidate list, depth, task definition or data) get tables of their own. The page
    opens from disk and needs no server. A run's command line and machine are shown: look before you publish.
    """
    from mrb.leaderboard.build import build as build_site

    click.echo(f"board: {build_site(runs, out)}")
