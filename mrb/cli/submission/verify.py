"""`mrb submission verify`: score a part of a submission again."""

from __future__ import annotations

from pathlib import Path

import click

from mrb.cli.options import (
    DATA_OF_RUN,
    add_candidates_option,
    add_data_option,
    add_model_option,
    add_out_option,
    file_type,
    open_all_data,
    parse_key_values,
    set_option,
)


@click.command()
@click.argument("submission", metavar="FOLDER|hf://...")
@add_model_option()
@set_option()
@click.option("--queries", type=click.IntRange(1), help="Queries per task that are scored again. Default: 20.")
@click.option(
    "--salt", metavar="TEXT", help="Repeat the choice of a record with this salt; writes no record. Default: random."
)
@click.option(
    "--noise",
    metavar="FILE",
    type=file_type(exists=True),
    help="The model's noise.json, measured by you (`mrb check --noise`): widens the floors.",
)
@add_data_option(DATA_OF_RUN)
@add_candidates_option()
@add_out_option("verified")
def verify(
    submission: str,
    model: str,
    options: tuple[str, ...],
    queries: int | None,
    salt: str | None,
    noise: Path | None,
    candidates: str | None,
    data: tuple[str, ...],
    out: Path,
) -> None:
    """Score some queries of a submission again with its model; write a record if they agree within the noise floor.

    The queries are chosen by a hash of the submission's content and a random salt. A submission could have been
    prepared for a salt that was known before, so nothing is written with --salt.
    """
    import secrets

    from mrb.candidates.set_lists import find_result_lists
    from mrb.rerankers.calling import close_after
    from mrb.rerankers.declaration import load_reranker
    from mrb.results.noise import NoiseRecord
    from mrb.results.schema import parse_file
    from mrb.submission.pull_submissions import find_local_folder
    from mrb.submission.reader import read_submission_folder
    from mrb.submission.verify import QUERIES, verify_submission, write_verification

    open_all_data(data)
    received = read_submission_folder(find_local_folder(submission))
    results = received.submission.results
    lists = find_result_lists(
        candidates, [(received.get_task(task_id), one.candidates.track) for task_id, one in results.items()]
    )
    measured = None if noise is None else parse_file(NoiseRecord, noise)
    reranker = load_reranker(model, parse_key_values(options))
    with close_after(reranker.close):
        record = verify_submission(
            received,
            reranker,
            salt=salt or secrets.token_hex(16),
            queries=queries or QUERIES,
            noise=measured,
            candidates=lists,
        )
    for task_id, task in record.tasks.items():
        click.echo(
            f"{task_id}: {task.queries} queries, {task.pairs} pairs: largest difference {task.largest_difference:.2g} "
            f"of {task.allowed_difference:.2g} standard deviations, nDCG@10 {100 * task.mean_change:.2f} points"
            + (f"; {task.failed_pairs} pairs failed again" if task.failed_pairs else "")
        )
    for task_id in record.tasks:
        counts = received.submission.results[task_id].counts
        if counts.failed_pairs:
            click.echo(f"{task_id}: {counts.failed_pairs} of {counts.pairs} pairs are submitted as failed, ranked last")
    for task_id, reason in record.not_verified.items():
        click.echo(f"{task_id}: not verified: {reason}")
    if salt is None:
        click.echo(f"verified: {write_verification(out, record)}")
    else:
        click.echo(f"{received.name}: agrees with this choice again; no record is written with --salt")
