"""`mrb verify`: score a part of a submission again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("submission", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", required=True, metavar="NAME", help="Installed adapter, my_adapter(.py), or module:Class.")
@click.option("--set", "options", multiple=True, metavar="KEY=VALUE", help="An option of the adapter; may be repeated.")
@click.option("--queries", type=click.IntRange(1), help="Queries of each task that are scored again. Default: 20.")
@click.option("--salt", metavar="TEXT", help="Chooses the queries. Default: drawn now; give one to repeat a choice.")
@click.option(
    "--noise",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The model's noise.json, measured by you (`mrb check --noise`): widens the floors.",
)
@click.option("--candidates", type=click.Path(exists=True, path_type=Path), help="List or folder of lists, as in run.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("verified"), show_default=True)
def command(
    submission: Path,
    model: str,
    options: tuple[str, ...],
    queries: int | None,
    salt: str | None,
    noise: Path | None,
    candidates: Path | None,
    out: Path,
) -> None:
    """Score queries of SUBMISSION again with MODEL, and write a record if they agree within the noise floor.

    The queries are chosen by a hash over the submission's content and a salt that is drawn now.
    """
    import secrets

    from mrb.calling import closed_after
    from mrb.cli.options import key_values
    from mrb.declaration import load_reranker
    from mrb.noise import NoiseRecord
    from mrb.results import parse_file
    from mrb.submission.folder import receive
    from mrb.submission.verify import QUERIES, verify, write_verified

    received = receive(submission)
    measured = None if noise is None else parse_file(NoiseRecord, noise)
    reranker = load_reranker(model, key_values(options))
    with closed_after(reranker.close):
        record = verify(
            received,
            reranker,
            salt=salt or secrets.token_hex(16),
            queries=queries or QUERIES,
            noise=measured,
            candidates=candidates,
        )
    for task_id, task in record.tasks.items():
        click.echo(
            f"{task_id}: {task.queries} queries, {task.pairs} pairs: largest difference {task.largest_difference:.2g} "
            f"of {task.allowed_difference:.2g} standard deviations, nDCG@10 {100 * task.mean_change:.2f} points"
        )
    for task_id, reason in record.not_verified.items():
        click.echo(f"{task_id}: not verified: {reason}")
    click.echo(f"verified: {write_verified(out, record)}")
