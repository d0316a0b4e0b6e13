"""`mrb data`: the data of tasks, on this disk and on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb.cli.groups import Group
from mrb.cli.options import Function, add_suite_option, add_task_option, find_tasks, folder_type
from mrb.errors import DataError

if TYPE_CHECKING:
    from mrb.data.pull_data import PulledTask

MOVED = {"verify": "mrb data check", "doctor": "mrb data check --remote"}


@click.group(cls=Group, moved=MOVED)
def command() -> None:
    """Fetch, list and check the data of tasks that lie on the Hub; describe your own."""


def _tasks_options(function: Function) -> Function:
    return add_task_option("This task; may be repeated.")(add_suite_option("All tasks of this suite.")(function))


@command.command()
@click.argument("folder", type=folder_type(exists=True))
@click.option("--id", "task_id", metavar="ID", help="Small letters, digits and '-'. Default: the folder's name.")
@click.option("--title", metavar="TEXT", help="Default: the id.")
@click.option("--instruction", metavar="TEXT", help="What is relevant, in a sentence that models are given.")
@click.option("--type", "kind", metavar="TYPE", help="Only for pages: t2vd. All others follow from the content.")
@click.option("--split", metavar="NAME", help="The file of qrels/ to use. Default: test.")
@click.option("--candidates", metavar="FILE", help="The list to use, where the folder has several.")
@click.option(
    "--cluster",
    metavar="RULE",
    help="Which queries are not independent: query_image, query_text, document, positives.",
)
@click.option("--licence", metavar="NAME", help="Licence of the data.")
def init(
    folder: Path,
    task_id: str | None,
    title: str | None,
    instruction: str | None,
    kind: str | None,
    split: str | None,
    candidates: str | None,
    cluster: str | None,
    licence: str | None,
) -> None:
    """Read the data in FOLDER, say what it is, and write FOLDER/task.toml with what cannot be inferred.

    The file is optional: `mrb run --data FOLDER` works without it. Its id and instruction are part of every result.
    """
    from mrb.data.folder_files import TASK_FILE
    from mrb.data.folder_task import write_task_file
    from mrb.data.own_tasks import register_task

    stated = {
        "id": task_id,
        "title": title,
        "type": kind,
        "instruction": instruction,
        "split": split,
        "candidates": candidates,
        "cluster": cluster,
        "licence": licence,
    }
    task, lines = write_task_file(folder, stated)
    register_task(task, folder)
    click.echo("\n".join([f"{task.id}: {folder / TASK_FILE}", *(f"  {line}" for line in lines)]))


@command.command()
@_tasks_options
def pull(task_ids: tuple[str, ...], suite_id: str | None) -> None:
    """Fetch tasks at their pinned revisions, check every file, and print what was read.

    Killed at any moment, the same command continues where it stopped.
    """
    from mrb._util.terminal import find_screen
    from mrb.data.pull_data import format_pulled, pull_task

    found: list[PulledTask] = []
    try:
        for task in find_tasks(task_ids, suite_id):
            if (one := pull_task(task)) is not None:
                found.append(one)
    finally:  # one task that fails does not hide what was read of those before it
        if found:
            click.echo(format_pulled(found, find_screen()))
    if not found:
        click.echo("nothing to fetch: the data of these tasks is part of the package")


@command.command()
@_tasks_options
def info(task_ids: tuple[str, ...], suite_id: str | None) -> None:
    """Show what is on this disk, without a request. Default: the suite mrb."""
    from mrb._util.terminal import find_screen
    from mrb.data.pull_data import format_info

    click.echo(format_info(find_tasks(task_ids, suite_id, "mrb"), find_screen()))


@command.command()
@_tasks_options
def table(task_ids: tuple[str, ...], suite_id: str | None) -> None:
    """Print what loading found: rows read, judgements dropped, columns; or that a task was never loaded live.

    Reads the files on this disk, without a request. Default: the suite mrb.
    """
    from mrb._util.terminal import find_screen
    from mrb.data.report import format_report

    click.echo(format_report(find_tasks(task_ids, suite_id, "mrb"), find_screen()))


@command.command()
@_tasks_options
@click.option("--remote", is_flag=True, help="Compare the registry with the Hub instead; no data is fetched.")
def check(task_ids: tuple[str, ...], suite_id: str | None, remote: bool) -> None:
    """Hash the files on this disk again and compare rows with the first load. Default: the suite mrb.

    With --remote: ask the Hub whether repositories, revisions, tables and columns are as the registry says. Only
    listings and the ends of files are read. The exit code is 2 if anything does not fit.
    """
    tasks = find_tasks(task_ids, suite_id, "mrb")
    if not remote:
        from mrb.data.pull_data import verify_task

        for task in tasks:
            for line in verify_task(task):
                click.echo(line)
        return
    from mrb._util.terminal import find_screen
    from mrb.data.registry_check import examine_task, format_findings

    found = [finding for task in tasks for finding in examine_task(task)]
    click.echo(format_findings(found, find_screen()))
    wrong = [finding for finding in found if finding.problem]
    if wrong:
        raise DataError(f"{len(wrong)} of {len(found)} repositories do not fit; the first: {wrong[0].problem}")
