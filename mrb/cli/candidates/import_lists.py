"""`mrb candidates import`: lists from other tools' files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb.cli.options import (
    add_candidate_set_option,
    add_depth_option,
    add_out_option,
    add_score_file_options,
    add_single_task_option,
)

if TYPE_CHECKING:
    from mrb.candidates.score_files import Format


@click.command("import")
@click.argument("file", metavar="FILE|FOLDER", type=click.Path(exists=True, path_type=Path))
@add_single_task_option("The task that the lists are for.", required=True)
@click.option("--first-stage", required=True, metavar="NAME", help="What made the lists; recorded in the result.")
@add_depth_option("Documents per query.", default=100)
@add_candidate_set_option("Recorded in the list.", default="imported")
@add_score_file_options()
@click.option("--allow-missing", is_flag=True, help="Accept queries without candidates.")
@click.option("--skip-unknown", is_flag=True, help="Leave out queries that the task does not judge.")
@add_out_option("candidates")
def import_lists(
    file: Path,
    task_id: str,
    first_stage: str,
    depth: int,
    candidate_set: str,
    form: Format | None,
    subset: str | None,
    split: str | None,
    allow_missing: bool,
    skip_unknown: bool,
    out: Path,
) -> None:
    """Make <task>.parquet from another tool's file: a TREC run, mteb's predictions, a top_ranked table of mteb or
    HAKARI-Bench, RankLLM's requests, or a parquet of query_id, doc_id, score.

    FOLDER is the prediction folder of mteb; for CQADupStack it has a file for each forum. Ids as mteb changes them
    (ViDoRe's query-test-7) are read as the task's. Scores decide the order, every id must be the task's, and
    self-matches are removed before the lists are cut.
    """
    from mrb.candidates.lists import write_parquet
    from mrb.candidates.score_files import import_candidates
    from mrb.candidates.task_scores import read_task_scores
    from mrb.data.corpus_subset import NeededDocuments
    from mrb.data.load import load_task_data
    from mrb.data.own_tasks import resolve_task
    from mrb.retrieval.candidate_stats import format_counts, format_quality, measure_quality

    task = resolve_task(task_id)
    scores = read_task_scores(file, task, form, subset=subset, split=split)
    data = load_task_data(task, needed=NeededDocuments.of(doc_id for found in scores.values() for doc_id in found))
    found = import_candidates(
        data,
        scores,
        first_stage=first_stage,
        depth=depth,
        candidate_set=candidate_set,
        allow_missing=allow_missing,
        skip_unknown=skip_unknown,
        source=file if file.is_file() else None,
    )
    path = out / f"{task.id}.parquet"
    write_parquet(found.candidates, path)
    measures = format_quality(measure_quality(found.candidates, data, depth), depth)
    click.echo(f"{path}  {first_stage}  {format_counts(found.candidates)}  {measures}")
    click.echo(f"  sha256 {found.candidates.sha256}")
    click.echo(
        f"  {found.missing} queries without a list, {found.skipped} left out, {found.shorter} lists under {depth}"
    )
