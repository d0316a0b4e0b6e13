"""`mrb leaderboard`: static pages from runs and submissions, and a server to look at them."""

from __future__ import annotations

from pathlib import Path

import click

from mrb.cli.options import add_out_option, folder_type

RESULTS = Path("leaderboard") / "results"
VERIFIED = Path("leaderboard") / "verified"


@click.group()
def command() -> None:
    """Build the board from runs and submissions, and look at it."""


@command.command()
@click.argument("folders", nargs=-1, metavar="[FOLDER|hf://...]...")
@add_out_option("site")
@click.option(
    "--verified",
    multiple=True,
    type=folder_type(exists=True),
    help="A folder of records of `mrb submission verify`; may be repeated. Default: leaderboard/verified.",
)
@click.option(
    "--candidates",
    "packs",
    metavar="FOLDER|hf://...",
    help="Judgement packs, <task>.judgements: submissions get ranks and comparisons without the data sets.",
)
@click.option("--url", default="", metavar="URL", help="Where the board will be: for citations, badges, previews.")
@click.option(
    "--benchmark",
    default="",
    metavar="ORG/NAME[@REVISION]",
    help="A benchmark data set of the Hub: each model gets a file for .eval_results of its repository.",
)
@click.option("--snapshot", metavar="NAME", help="Also keep a permanent copy in snapshots/NAME of the --out folder.")
def build(
    folders: tuple[str, ...],
    out: Path,
    verified: tuple[Path, ...],
    packs: str | None,
    url: str,
    benchmark: str,
    snapshot: str | None,
) -> None:
    """Write a site with the results in FOLDERS, and copies of their files. Default: leaderboard/results.

    A folder is a run, a submission, or a folder of submissions. Rows that are not comparable (another candidate list,
    depth, task definition or data) get tables of their own. The pages open from disk and need no server. A run's
    command line and machine are shown: look before you publish. Submissions are checked only as far as their data is on
    this disk; `mrb submission validate` does more. Nothing in the --out folder is removed: name a new folder for a
    board without the pages of runs that are gone.
    """
    from mrb.candidates.pull_packs import find_local_packs
    from mrb.errors import ResultError
    from mrb.leaderboard.build import build as build_site
    from mrb.submission.pull_submissions import find_local_folder

    if not folders and not RESULTS.is_dir():
        raise ResultError(f"there is no folder {RESULTS} here: name runs or submissions")
    records = verified or ((VERIFIED,) if VERIFIED.is_dir() else ())
    local = [find_local_folder(folder) for folder in folders]
    folder = find_local_packs(packs)
    built = build_site(
        local or (RESULTS,), out, verified=records, snapshot_name=snapshot, packs=folder, url=url, benchmark=benchmark
    )
    if snapshot is not None:
        click.echo(f"snapshot: {built.parent / 'snapshots' / snapshot / built.name}")
    click.echo(f"board: {built}")


@command.command()
@click.argument("site", type=folder_type(exists=True), default=Path("site"))
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
def serve(site: Path, port: int) -> None:
    """Serve SITE (default: site) on this machine alone, until interrupted."""
    from mrb.errors import ResultError
    from mrb.leaderboard.serve import HOST, make_server

    if not (site / "index.html").is_file():
        raise ResultError(f"{site}: no board here; `mrb leaderboard build --out {site}` writes one")
    try:
        running = make_server(site, port)
    except OSError as error:
        raise ResultError(f"port {port}: {error.strerror}; choose another with --port") from error
    with running:
        click.echo(f"http://{HOST}:{running.server_port}/")
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            click.echo("stopped")
