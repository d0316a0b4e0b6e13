"""`mrb submission validate`: are these results and submissions what they should be?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import click

from mrb.cli.options import DATA_OF_RUN, LISTS, add_candidates_option, add_data_option, open_all_data

T = TypeVar("T")


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="PATH|hf://...")
@add_candidates_option(f"Submissions: what they were scored on. {LISTS}")
@add_data_option(DATA_OF_RUN)
@click.option(
    "--allow-not-recomputed", is_flag=True, help="Submissions: accept tasks whose data or list is not on this disk."
)
def validate(files: tuple[str, ...], candidates: str | None, data: tuple[str, ...], allow_not_recomputed: bool) -> None:
    """Check submissions (or folders of them), result files, or the result files of run folders.

    A submission is valid if every number follows from its rankings and the task's data, to 1e-9. Result files are
    checked for their schema, ranges and the tasks of the registry. The exit code is 2 if any is refused. Nothing in a
    file is executed or fetched.
    """
    from mrb.errors import MRBError, to_one_line
    from mrb.submission.reader import is_submission

    refused = 0
    open_all_data(data)

    def attempt(action: Callable[[], T]) -> T | None:
        nonlocal refused
        try:
            return action()
        except MRBError as error:
            refused += 1
            click.echo(to_one_line(f"refused: {error}", limit=1000), err=True)
            return None

    for file in files:
        for path in attempt(partial(_targets, file)) or ():
            if is_submission(path):
                attempt(partial(_submission, path, candidates, allow=allow_not_recomputed))
            else:
                attempt(partial(_result, path))
    if refused:
        raise click.exceptions.Exit(2)


def _targets(given: str) -> list[Path]:
    """A submission's folder, the submissions in a folder, or result files."""
    from mrb.results.schema import list_result_files
    from mrb.submission.pull_submissions import find_local_folder
    from mrb.submission.reader import is_submission, list_submissions

    file = find_local_folder(given)
    if is_submission(file):
        return [file]
    return (list_submissions(file) if file.is_dir() else []) or list_result_files(file)


def _result(path: Path) -> None:
    from mrb.data.task import is_registered
    from mrb.results.schema import RUN_FILE, check_registry, read_result, read_run

    result = read_result(path)
    run = path.parent.parent
    own = not is_registered(result.task) and (run / RUN_FILE).is_file()
    check_registry(result, str(path), read_run(run).definitions.get(result.task) if own else None)
    click.echo(f"{path}: valid: {result.reranker.name} on {result.task}")


def _submission(folder: Path, candidates: str | None, *, allow: bool) -> None:
    from mrb._util.format import format_tasks
    from mrb.candidates.pull_packs import find_local_packs
    from mrb.candidates.set_lists import find_result_lists
    from mrb.data.pull_data import is_local
    from mrb.errors import ResultError
    from mrb.submission.reader import read_submission_folder
    from mrb.submission.validate import validate_submission

    received = read_submission_folder(folder)
    results = received.submission.results
    stated = [(received.get_task(task_id), one.candidates.track) for task_id, one in results.items()]
    here = [(task, track) for task, track in stated if is_local(task)]
    away = [task for task, _ in stated if not is_local(task)]
    lists = find_result_lists(candidates, here) if here else None
    packs = find_local_packs(candidates, away) if away else None
    checked = validate_submission(received, lists, packs)
    for task_id, failed in checked.failed_pairs.items():
        pairs = results[task_id].counts.pairs
        click.echo(f"{folder}: {task_id}: {failed} of {pairs} pairs failed, ranked last")
    for task_id, pack in checked.packs.items():
        click.echo(f"{folder}: {task_id}: recomputed from the judgement pack {pack}, and right if the pack is")
    for task_id, reason in checked.not_recomputed.items():
        click.echo(f"{folder}: {task_id}: not recomputed: {reason}")
    if checked.not_recomputed and not allow:
        raise ResultError(
            f"{folder}: not recomputed: {len(checked.not_recomputed)} of {format_tasks(len(results))}; "
            "check it where their data is, or accept it as it is with --allow-not-recomputed"
        )
    done = f"{len(checked.recomputed)} of {format_tasks(len(results))}"
    click.echo(f"{folder}: valid: {received.name}, {done} recomputed, {received.suite.id}")
