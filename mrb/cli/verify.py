"""`mrb verify`: score a part of a submission again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("submission", metavar="FOLDER|hf://...")
@click.option("--model", required=True, metavar="NAME", help="Installed adapter, my_adapter(.py), or module:Class.")
@click.option("--set", "options", multiple=True, metavar="KEY=VALUE", help="An option of the adapter; may be repeated.")
@click.option("--queries", type=click.IntRange(1), help="Queries of each task that are scored again. Default: 20.")
@click.option(
    "--salt", metavar="TEXT", help="Repeat the choice of a record's salt; no record is written. Default: drawn now."
)
@click.option(
    "--noise",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The model's noise.json, measured by you (`mrb check --noise`): widens the floors.",
)
@click.option("--candidates", metavar="PATH|hf://...", help="List or folder of lists, as in run.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("verified"), show_default=True)
def command(
    submission: str,
    model: str,
    options: tuple[str, ...],
    queries: int | None,
    salt: str | None,
    noise: Path | None,
    candidates: str | None,
    out: Path,
) -> None:
    """Score queries of SUBMISSION again with MODEL, and write a record if they agree within the noise floor.

    The queries are chosen by a hash over the submission's content and a salt that is drawn now. A salt that was known
    before could have been prepared for, so with --salt nothing is written.
    """
    import secrets

    from mrb.cli.options import key_values
    from mrb.data.task import load_task
    from mrb.hub.pull_lists import find_local_lists
    from mrb.hub.submissions import find_local_folder
    from mrb.rerankers.calling import closed_after
    from mrb.rerankers.declaration import load_reranker
    from mrb.rerankers.noise import NoiseRecord
    from mrb.results.schema import parse_file
    from mrb.submission.reader import read_submission_folder
    from mrb.submission.verify import QUERIES, verify_submission, write_verification

    received = read_submission_folder(find_local_folder(submission, _say))
    lists, _ = find_local_lists(candidates, [load_task(task_id) for task_id in received.submission.results], _say)
    measured = None if noise is None else parse_file(NoiseRecord, noise)
    reranker = load_reranker(model, key_values(options))
    with closed_after(reranker.close):
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


def _say(line: str) -> None:
    click.echo(line, err=True)
