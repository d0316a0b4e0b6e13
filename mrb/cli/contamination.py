"""`mrb contamination`: gains on a set against gains on its decontaminated twin."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(runs: tuple[Path, ...], as_json: bool) -> None:
    """Compare each model's gain on a set with its gain on the set's decontaminated twin.

    A set and its twin (scifact, scifact-decontaminated) may be in one run folder or in two of the same reranker.
    """
    import json
    from dataclasses import asdict

    from mrb._util.terminal import find_screen
    from mrb.data.task import list_tasks
    from mrb.errors import ResultError
    from mrb.results.contamination import compare_twins, describe_left_out, format_twin_checks
    from mrb.results.run import load_run

    checks, left_out = compare_twins([load_run(run) for run in runs])
    if not checks:
        pairs = ", ".join(f"{task.twin_of} and {task.id}" for task in list_tasks() if task.twin_of)
        why = "".join(f" {line};" for line in describe_left_out(left_out))
        raise ResultError(f"no reranker has results that compare for a set and its twin;{why} there are: {pairs}")
    if as_json:
        click.echo(
            json.dumps(
                {
                    "schema_version": 1,
                    "checks": [asdict(check) for check in checks],
                    "left_out": [asdict(one) for one in left_out],
                },
                indent=2,
            )
        )
    else:
        click.echo(format_twin_checks(checks, find_screen(), left_out))
