"""`mrb data pull|info|table|verify|doctor`: the data behind the tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from mrb.errors import DataError

if TYPE_CHECKING:
    from mrb.data.task import Task
    from mrb.hub.pull_data import PulledTask

Command = Callable[..., Any]


@click.group()
def command() -> None:
    """Fetch, list and check the data of tasks that lie on the Hub."""


def _chosen(function: Command) -> Command:
    suite = click.option("--suite", "suite_id", metavar="ID", help="All tasks of this suite.")
    return click.option("--task", "task_ids", multiple=True, metavar="ID", help="This task; may be repeated.")(
        suite(function)
    )


@command.command()
@_chosen
def pull(task_ids: tuple[str, ...], suite_id: str | None) -> None:
    """Fetch tasks at their pinned revisions, check every file, and print what was read.

    Killed at any moment, the same command goes on where it stopped.
    """
    from mrb.hub.pull_data import format_pulled
    from mrb.hub.pull_data import pull_task as pull_task

    if not task_ids and suite_id is None:
        raise DataError("name what to fetch: --task ID (may be repeated) or --suite ID; `mrb tasks` lists sizes")
    found: list[PulledTask] = []
    try:
        for task in _tasks(task_ids, suite_id):
            if (one := pull_task(task, lambda line: click.echo(line, err=True))) is not None:
                found.append(one)
    finally:  # one task that fails does not hide what was read of those before it
        if found:
            click.echo(format_pulled(found))
    if not found:
        click.echo("nothing to fetch: the data of these tasks is part of the package")


@command.command()
@_chosen
def info(task_ids: tuple[str, ...], suite_id: str | None) -> None:
    """Show what is on this disk, without a request. Default: the suite mrb."""
    from mrb.hub.pull_data import format_info

    click.echo(format_info(_tasks(task_ids, suite_id)))


@command.command()
@_chosen
def table(task_ids: tuple[str, ...], suite_id: str | None) -> None:
    """Print what loading found: rows read, judgements dropped, columns; or that a task was never loaded live.

    Reads the files on this disk, without a request. Default: the suite mrb.
    """
    from mrb.data.report import format_report as table_text

    click.echo(table_text(_tasks(task_ids, suite_id)))


@command.command()
@_chosen
def verify(task_ids: tuple[str, ...], suite_id: str | None) -> None:
    """Hash what is on this disk again and compare rows with the first load. Default: the suite mrb."""
    from mrb.hub.pull_data import verify_task as verify_task

    for task in _tasks(task_ids, suite_id):
        for line in verify_task(task):
            click.echo(line)


@command.command()
@_chosen
def doctor(task_ids: tuple[str, ...], suite_id: str | None) -> None:
    """Ask the Hub whether it still has what the registry says: repositories, revisions, tables, columns.

    Listings and the ends of files are read, no data. Default: the suite mrb. Exit code 2 if anything does not fit.
    """
    from mrb.data.registry_check import examine_task, format_findings

    found = [finding for task in _tasks(task_ids, suite_id) for finding in examine_task(task)]
    click.echo(format_findings(found))
    wrong = [finding for finding in found if finding.problem]
    if wrong:
        raise DataError(f"{len(wrong)} of {len(found)} repositories do not fit; the first: {wrong[0].problem}")


def _tasks(task_ids: tuple[str, ...], suite_id: str | None) -> list[Task]:
    from mrb.data.task import list_suite_tasks, load_suite, load_task

    if task_ids and suite_id:
        raise DataError("give either --task ID (may be repeated) or --suite ID")
    return [load_task(task_id) for task_id in task_ids] if task_ids else list_suite_tasks(load_suite(suite_id or "mrb"))
