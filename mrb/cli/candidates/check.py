"""`mrb candidates check`: whether lists are whole and fit their tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb.cli.candidates.hub import pull_from
from mrb.cli.options import add_single_task_option
from mrb.errors import CandidatesError

if TYPE_CHECKING:
    from mrb.candidates.lists import Candidates
    from mrb.data.task import Task
    from mrb.data.task_data import TaskData


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE|hf://...")
@add_single_task_option("The task that it must be for. Default: the one that the file names.")
def check(files: tuple[str, ...], task_id: str | None) -> None:
    """Check lists: content against hash, task and data revision, every id. Exit code 2 at the first that is wrong."""
    from mrb.candidates.lists import read_parquet
    from mrb.data.own_tasks import resolve_task
    from mrb.hub.address import is_address
    from mrb.retrieval.candidate_stats import format_counts

    for path in (one for file in files for one in (pull_from(file, task_id) if is_address(file) else [Path(file)])):
        candidates = read_parquet(path)
        task = resolve_task(task_id or candidates.provenance.task)
        data = load_checked(path, candidates, task)
        click.echo(f"{path}: ok, {format_counts(candidates)} for {len(data.queries):,} queries of {task.id}")


def load_checked(path: Path, candidates: Candidates, task: Task) -> TaskData:
    """Return the data of the list's task, after checking that the list is the task's. CandidatesError if it is not."""
    from mrb.candidates.lists import check_ids, check_task
    from mrb.candidates.load import collect_documents
    from mrb.data.load import load_task_data

    made, frozen = candidates.provenance, task.candidates
    check_task(made, task, str(path))
    data = load_task_data(task, needed=collect_documents(candidates))
    check_ids(candidates, data.queries.rows, data.corpus.rows, str(path))
    like_frozen = frozen is not None and (
        (frozen.first_stage, frozen.track, frozen.depth) == (made.first_stage, made.track, made.depth)
    )
    if frozen is not None and like_frozen and candidates.sha256 != frozen.sha256:
        raise CandidatesError(
            f"{path}: names the first stage, candidate set and depth of the published list of {task.id}, but its hash "
            f"is {candidates.sha256}, the published one's {frozen.sha256}"
        )
    return data
