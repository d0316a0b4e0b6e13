"""`mrb recompute`: every number of a run again, from its journals."""

from __future__ import annotations

from pathlib import Path

import click

from mrb.cli.options import DATA_OF_RUN, add_candidates_option, add_data_option, open_all_data
from mrb.errors import MRBError, ResultError, to_one_line


@click.command()
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@add_candidates_option()
@add_data_option(DATA_OF_RUN)
@click.option("--write", is_flag=True, help="Write the files again from the journals.")
def command(run: Path, candidates: str | None, data: tuple[str, ...], write: bool) -> None:
    """Recompute every number of the run folder RUN from its journals.

    Every task is checked. If a file differs from what its journal gives, one line is printed per difference and the
    exit code is 2.
    """
    from mrb.candidates.pull_lists import find_local_lists
    from mrb.evaluation.recompute import verify_task
    from mrb.results.schema import read_run

    if run.is_file():
        raise ResultError(f"{run}: a file, not a run folder; `mrb score FILE --task ID` measures a file of scores")
    open_all_data(data)
    record = read_run(run)
    not_covered = {item.task for item in record.not_covered}
    scored = [task for task in record.tasks if task not in not_covered]
    lists, _ = find_local_lists(candidates, [record.get_task(task) for task in scored])
    wrong = 0
    for task in scored:
        try:
            differences = verify_task(run / task, lists, write=write)
        except MRBError as error:
            wrong += 1
            click.echo(to_one_line(f"mrb: {error}", 1000), err=True)
            continue
        if not differences:
            click.echo(f"{task}: identical")
        elif write:
            click.echo(f"{task}: written again, differences removed: {len(differences)}")
        else:
            wrong += 1
            for difference in differences:
                click.echo(to_one_line(f"mrb: {task}: {difference}", 1000), err=True)
    if wrong:
        raise click.exceptions.Exit(2)
