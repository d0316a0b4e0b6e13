"""`mrb candidates show`: a list's origin, size and measures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb.cli.candidates.check import load_checked
from mrb.cli.candidates.hub import pull_from
from mrb.cli.options import add_depth_option, add_single_task_option, file_type
from mrb.errors import CandidatesError, MRBError

if TYPE_CHECKING:
    from mrb.candidates.lists import Candidates


@click.command()
@click.argument("list_or_task", metavar="FILE|TASK|hf://...")
@add_single_task_option("Of an address: the list of this task.")
@add_depth_option("Measure only the first N documents of each list.")
@click.option("--query", "query_id", metavar="ID", help="Print only the list of this query.")
@click.option("--trec", "trec_path", metavar="FILE", type=file_type(), help="Write a TREC run file.")
def show(
    list_or_task: str, task_id: str | None, depth: int | None, query_id: str | None, trec_path: Path | None
) -> None:
    """Show a candidate list: its task, first stage, size, measures and oracle.

    TASK shows the task's published list.
    """
    from mrb._util.format import fold_text
    from mrb._util.terminal import find_screen
    from mrb.candidates.lists import read_parquet, write_trec

    path = find_list(list_or_task, task_id)
    candidates = read_parquet(path)
    if trec_path is not None:
        write_trec(candidates, trec_path)
        click.echo(f"{trec_path}  {candidates.pairs:,} lines")
    elif query_id is not None:
        doc_ids, scores = candidates.get(query_id)
        if not doc_ids:
            raise CandidatesError(f"{path}: holds no list for query {query_id!r}")
        for rank, (doc_id, score) in enumerate(zip(doc_ids, scores, strict=True), start=1):
            click.echo(f"{rank}\t{doc_id}\t{score!s}")
    else:
        screen = find_screen()
        for name, value in _fields(path, candidates, depth or candidates.provenance.depth):
            click.echo("\n".join(fold_text(f"{name:<12} {value}", screen, indent=" " * 13)))


def find_list(list_or_task: str, task_id: str | None) -> Path:
    """Return the file of one list: FILE itself, the published list of TASK, or that of an address, pulled first."""
    from mrb.hub.address import is_address

    if is_address(list_or_task):
        first, *others = pull_from(list_or_task, task_id)
        if others:
            names = ", ".join(path.stem for path in (first, *others))
            raise CandidatesError(f"{list_or_task}: several lists: {names}; choose one with --task")
        return first
    if task_id is not None:
        raise CandidatesError(
            f"--task {task_id}: chooses among the lists of an address hf://...; {list_or_task} is none"
        )
    path = Path(list_or_task)
    if path.suffix == ".parquet" or path.exists():
        return path
    from mrb.candidates.load import find_candidates
    from mrb.data.own_tasks import resolve_task

    return find_candidates(resolve_task(list_or_task), None)


def _fields(path: Path, candidates: Candidates, depth: int) -> Iterator[tuple[str, str]]:
    from mrb.data.task import load_task
    from mrb.retrieval.candidate_stats import format_counts, format_quality, measure_quality

    made = candidates.provenance
    yield "file", str(path)
    yield "task", f"{made.task}, list hash {made.list_hash}"
    yield "data", made.revision
    yield "first stage", made.first_stage
    yield "set", made.track
    yield "depth", str(made.depth)
    yield "size", format_counts(candidates)
    yield "sha256", candidates.sha256
    try:
        data = load_checked(path, candidates, load_task(made.task))
        yield "measures", format_quality(measure_quality(candidates, data, depth), depth)
    except MRBError as error:
        # A list is worth showing where the data is not at hand, or has moved on.
        yield "measures", f"not computed: {error}"
