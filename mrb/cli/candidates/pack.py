"""`mrb candidates pack`: judgement packs, which measure rankings where the data is not."""

from __future__ import annotations

from pathlib import Path

import click

from mrb.cli.candidates.check import load_checked
from mrb.cli.candidates.show import find_list
from mrb.cli.options import add_data_option, add_out_option, open_all_data


@click.command()
@click.argument("lists", nargs=-1, required=True, metavar="FILE|TASK|hf://...")
@add_data_option()
@add_out_option(help="Write the packs here. Default: beside each FILE; for a TASK or an address, the working folder.")
def pack(lists: tuple[str, ...], data: tuple[str, ...], out: Path | None) -> None:
    """Make the judgement pack of each list, `<task>.judgements`, from the list and the task's data.

    A pack holds grades and positions, no text and no document's id. With it `mrb submission validate` and `mrb
    leaderboard build` compute every measure of a submission without the data set and the list. Publish it with the
    list; TASK means the task's published list.
    """
    from mrb.candidates.judgement_packs import PACK_SUFFIX, build_pack, write_pack
    from mrb.candidates.lists import read_parquet
    from mrb.data.own_tasks import resolve_task

    open_all_data(data)
    for given in lists:
        path = find_list(given, None)
        candidates = read_parquet(path)
        task = resolve_task(candidates.provenance.task)
        made = build_pack(load_checked(path, candidates, task), candidates)
        folder = out or (path.parent if Path(given) == path else Path())
        target = folder / f"{task.id}{PACK_SUFFIX}"
        write_pack(made, target)
        click.echo(f"{target}: {len(made.queries):,} queries, {target.stat().st_size:,} bytes, sha256 {made.sha256}")
