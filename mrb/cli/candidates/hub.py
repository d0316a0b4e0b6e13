"""`mrb candidates push|pull`: lists to and from the Hub."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb.cli.options import add_out_option, add_task_option

if TYPE_CHECKING:
    from mrb.candidates.pull_lists import ListInfo, PulledLists

logger = logging.getLogger(__name__)


@click.command()
@click.argument("lists", metavar="FILE|FOLDER", type=click.Path(path_type=Path))
@click.argument("address", metavar="hf://datasets/ORG/NAME[/FOLDER]")
@click.option("--private", is_flag=True, help="Make the data set private; refused if it is there and public.")
def push(lists: Path, address: str, private: bool) -> None:
    """Put lists into a data set of the Hub, as <task>.parquet, all in one commit, those of a FOLDER with a card.

    The card is FOLDER/README.md: written now, or your own, which is sent as it is. A card of your own on the Hub is not
    replaced by a written one. Each list is first read whole and found to be right for its task. The token is the one
    that the Hub's own tools use: `hf auth login`, or HF_TOKEN.
    """
    from mrb.candidates.list_card import has_own_card, write_card, write_entries
    from mrb.candidates.push_lists import find_lists, push_lists
    from mrb.hub.address import parse_address

    target = parse_address(address)
    found = find_lists(lists)
    logger.info(f"{target}: {len(found)} lists, {sum(one.path.stat().st_size for one in found) / 1e6:,.2f} MB to send")
    card = write_card(lists, found, target) if lists.is_dir() else None
    if card is not None and has_own_card(target, card):
        logger.warning(f"{target}: the card there is not MRB's and stays; the one of these lists is {card}")
        card = None
    pushed = push_lists(found, target, private=private, card=card)
    click.echo(_table(one.about for one in found))
    click.echo(f"pushed: {pushed}")
    if lists.is_dir() and (entries := write_entries(lists, found, pushed)) is not None:
        click.echo(f"entries for MRB's tasks/published_lists.toml: {entries}")


@click.command()
@click.argument("source", metavar="hf://datasets/ORG/NAME[@REVISION][/FOLDER]|SET")
@add_task_option("The list of this task; may be repeated. Default: all.")
@add_out_option(help="Copy the lists into this folder too.")
def pull(source: str, task_ids: tuple[str, ...], out: Path | None) -> None:
    """Fetch lists from the Hub at a commit, and check each: content, task, definition, data revision, candidate set.

    They stay in MRB's cache, where `mrb run --candidates` finds them under the address that is printed, without network
    too. SET means the published lists of a candidate set (`mrb candidates sets`). Killed, the same command continues.
    """
    from mrb.candidates.candidate_sets import find_published_lists, get_candidate_set
    from mrb.candidates.pull_lists import copy_list, pull_lists, pull_published
    from mrb.data.task import load_task
    from mrb.hub.address import is_address, parse_address

    tasks = [load_task(task_id) for task_id in dict.fromkeys(task_ids)]
    pulled: list[PulledLists]
    if is_address(source):
        pulled = [pull_lists(parse_address(source), tasks)]
    else:
        pulled = pull_published(find_published_lists(get_candidate_set(source), [task.id for task in tasks]))
    click.echo(_table(about for one in pulled for about in one.lists.values()))
    for one in pulled:
        for name in one.passed_over:
            click.echo(f"passed over: {name}: no task has this name")
        for task_id in one.lists if out is not None else ():
            copy_list(one.file(task_id), out or Path())
        click.echo(f"pulled: {one.source}")
    if out is not None:
        click.echo(f"copied to: {out}")


def pull_from(address: str, task_id: str | None) -> list[Path]:
    """Fetch the lists of an address, or that of one task, and return their files in MRB's cache."""
    from mrb.candidates.pull_lists import pull_lists
    from mrb.data.task import load_task
    from mrb.hub.address import parse_address

    tasks = [] if task_id is None else [load_task(task_id)]
    found = pull_lists(parse_address(address), tasks)
    return [found.file(one) for one in found.lists]


def _table(lists: Iterable[ListInfo]) -> str:
    """A row for each list; the hash is its identity, as in every result."""
    from mrb._util.format import format_table
    from mrb._util.terminal import find_screen

    rows = [("task", "first stage", "set", "depth", "lists", "pairs", "sha256")]
    for about in lists:
        made = about.provenance
        numbers = (str(made.depth), f"{about.queries:,}", f"{about.pairs:,}")
        rows.append((made.task, made.first_stage, made.track, *numbers, about.sha256))
    return "\n".join(format_table(rows, left={0, 1, 2, 6}, drop=("lists", "pairs"), screen=find_screen()))
