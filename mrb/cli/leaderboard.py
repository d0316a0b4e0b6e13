"""`mrb leaderboard`: static pages from runs and submissions."""

from __future__ import annotations

from pathlib import Path

import click

RESULTS = Path("leaderboard") / "results"


@click.group()
def command() -> None:
    """Build the board from runs and submissions."""


@command.command()
@click.argument("folders", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("site"), show_default=True)
def build(folders: tuple[Path, ...], out: Path) -> None:
    """Write a site with the results in FOLDERS, and copies of their files. Default: leaderboard/results.

    A folder is a run that `mrb run` made, a submission, or one of many submissions. Rows that do not compare (another
    candidate list, depth, task definition or data) get tables of their own. The pages open from disk and need no
    server. A run's command line and machine are shown: look before you publish. Submissions are not checked again
    here: `mrb validate` does that. Nothing in the --out folder is removed: for a board without the pages of runs that
    are gone, name a new folder.
    """
    from mrb.errors import ResultError
    from mrb.leaderboard.build import build as build_site

    if not folders and not RESULTS.is_dir():
        raise ResultError(f"there is no folder {RESULTS} here: name runs or submissions")
    click.echo(f"board: {build_site(folders or (RESULTS,), out)}")
