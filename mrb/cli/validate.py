"""`mrb validate`: are these result files what they should be?"""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def command(files: tuple[Path, ...]) -> None:
    """Check result files, or the result files of run folders: schema, ranges, and the registry's tasks.

    Every file is checked and told; the exit code is 2 if any is refused. Nothing in a file is executed or fetched.
    """
    from mrb.errors import MRBError, one_line
    from mrb.results import check_registry, read_result, result_files

    refused = 0
    for file in files:
        try:
            found = result_files(file)
        except MRBError as error:
            refused += 1
            click.echo(one_line(f"refused: {error}", limit=1000), err=True)
            continue
        for path in found:
            try:
                result = read_result(path)
                check_registry(result, str(path))
                click.echo(f"{path}: valid: {result.reranker.name} on {result.task}")
            except MRBError as error:
                refused += 1
                click.echo(one_line(f"refused: {error}", limit=1000), err=True)
    if refused:
        raise click.exceptions.Exit(2)
