"""`mrb train check`: files of groups, before they are trained on."""

from __future__ import annotations

from pathlib import Path

import click

from mrb.cli.options import add_change_option


@click.command()
@click.argument("names", metavar="[FILE]...", nargs=-1)
@click.option("--recipe", metavar="RECIPE", help="The files and tasks of this recipe.")
@add_change_option("A setting of the recipe; may be repeated.")
@click.option("--workers", type=click.IntRange(1), help="Processes. Default: one for each core.")
@click.option("--fresh", is_flag=True, help="Check files again that were checked before.")
def check(
    names: tuple[str, ...], recipe: str | None, changes: tuple[str, ...], workers: int | None, fresh: bool
) -> None:
    """Check files of groups: what is test data, what cannot be trained on, what contradicts itself.

    FILE is a .jsonl or .parquet file, a pattern such as 'own/p*.jsonl', or a folder. What is found is kept next to each
    file, and no training run with these files repeats the check. Ends with code 2 if a group cannot be trained on.
    """
    from mrb._util.format import format_count, format_tasks
    from mrb.errors import TrainingError
    from mrb.training.data.check import FileChecker
    from mrb.training.data.check_record import format_check, read_check
    from mrb.training.data.contamination import list_held_out, load_held_out
    from mrb.training.data.files import find_group_files
    from mrb.training.data.prepare import check_file, list_files
    from mrb.training.recipe import load_recipe

    if bool(names) == (recipe is not None):
        raise TrainingError("name files of groups, or a recipe with --recipe")
    index = load_held_out(list_held_out())
    paths: list[Path] = find_group_files(names)
    if recipe is not None:
        paths = list_files(load_recipe(recipe, changes).recipe.data, index)
    bad = 0
    with FileChecker(index, workers) as checker:
        for path in paths:
            found = None if fresh else read_check(path, index)
            before = found is not None and not found[0].bad
            record, _ = found if found is not None and before else check_file(path, checker)
            bad += record.bad
            for line in format_check(path, record, before=before):
                click.echo(line)
    compared = format_tasks(len(index.keys))
    click.echo(f"compared with {compared}; unknown, as their data is not here: {len(index.unknown)}")
    if bad:
        raise TrainingError(f"{format_count(bad, 'group')}, listed above, cannot be trained on; mend or remove them")
