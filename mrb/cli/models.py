"""`mrb models`: the installed rerankers and first stages, what they need, and whether they can run here."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mrb._util.format import Screen, fold_text, format_table
from mrb.errors import to_one_line

if TYPE_CHECKING:
    from mrb.rerankers.models import ModelEntry, Role

_READY = "READY"
_NOTES = (
    "all: text, images and both together; t>t+i: text queries, documents of text or image; own: what the model takes.",
    "?: unconfirmed.",
    "SEEN: test sets of the registry whose training data it was trained on, as published; ?: nothing is published.",
    "One of them: mrb models NAME. Another model: mrb run --model ORG/NAME, or --model FOLDER.",
)


@click.command()
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of adapters.")
@click.option("--remote", is_flag=True, help="Also ask the Hub whether the published models can be fetched.")
def command(name: str | None, as_json: bool, remote: bool) -> None:
    """List the installed rerankers and first stages, or show NAME whole: an adapter or a published model.

    READY says whether it runs here and now, without the network, or what is missing. Without --remote no request is
    made. A model that is not in the list: mrb run --model ORG/NAME, or --model FOLDER.
    """
    from mrb.rerankers.models import ROLES, check_remote, find_model, list_models

    entries = list_models() if name is None else find_model(name)
    found = {(entry.name, entry.role): check_remote(entry) for entry in entries} if remote else {}
    if as_json:
        rows = [{**asdict(one), **({"remote": found[one.name, one.role]} if remote else {})} for one in entries]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    if name is not None:
        pages = ("\n".join(_format_page(entry, found.get((entry.name, entry.role)))) for entry in entries)
        click.echo("\n\n".join(pages))
        return
    for role in ROLES:
        click.echo("\n".join(_format_list(role, [entry for entry in entries if entry.role == role], found)))
        click.echo()
    for text in _NOTES:
        click.echo("\n".join(fold_text(text, _find_screen())))


def _format_list(role: Role, entries: Sequence[ModelEntry], found: Mapping[tuple[str, Role], str]) -> Iterator[str]:
    """Yield the lines of a table; the last column is folded at the terminal's width."""
    rows = [[role.upper(), "TAKES", "SIZE", "LICENCE", "SEEN", _READY]]
    for entry in entries:
        # Options by their names alone, so that the column is narrow; the page of one adapter spells them out.
        state = "yes" if entry.ready else re.sub(r"--set (\w+)=\S+", r"\1", entry.reason)
        if remote := found.get((entry.name, entry.role)):
            state = f"{state}; {remote}"
        first = [entry.name, _shorten_inputs(entry.takes), entry.size or "-", _shorten(entry.licence)]
        rows.append([*first, _format_seen(entry), state])
    yield from format_table(rows, left=range(6), drop=("SEEN", "SIZE"), screen=_find_screen())


def _format_page(entry: ModelEntry, remote: str | None) -> Iterator[str]:
    """Yield the lines that show one adapter."""
    screen = _find_screen()
    yield f"{entry.name}: {entry.role} of {entry.source}"
    yield ""
    fields = {
        "runs": f"{entry.checkpoint} ({entry.size} weights)" if entry.size else entry.checkpoint,
        "commit": entry.commit or "",
        "takes": entry.takes,
        "licence": entry.licence,
        "needs": "; ".join(filter(None, [entry.install, _describe_machine(entry)])) or "nothing more",
        "ready here": "yes" if entry.ready else f"no: {entry.reason}",
        "Hub": remote or "",
        "real weights": f"run by this project: {entry.run_here}" if entry.run_here != "-" else "",
        "compared with": entry.compared_with if entry.compared_with != "-" else "",
        **_describe_training(entry),
        "about": entry.about,
    }
    for label, value in fields.items():
        if value:
            yield from fold_text(f"{label:<15}{to_one_line(value, 2000)}", screen, indent=" " * 15)
    if entry.options:
        yield ""
        yield "options (--set NAME=VALUE):"
        rows = [
            [f"  {one.name}", "must be given" if one.default is None else one.default, one.type]
            for one in entry.options
        ]
        yield from format_table(rows, left=range(3), screen=screen)
    yield ""
    yield f"$ {entry.command}"


def _format_seen(entry: ModelEntry) -> str:
    if entry.trained_on is None:
        return "?" if entry.size else "-"
    return str(list(entry.trained_on.values()).count("trained-on"))


def _describe_training(entry: ModelEntry) -> dict[str, str]:
    """Return the published training data by label: test sets, sets with related data, and where it is stated."""
    if entry.trained_on is None:
        return {"trained on": "not stated" if entry.size else ""}
    by_mark = {
        mark: ", ".join(task_id for task_id, found in entry.trained_on.items() if found == mark)
        for mark in ("trained-on", "related")
    }
    return {
        "trained on": f"{by_mark['trained-on'] or 'no test set of the registry is named'} ({entry.training_source})",
        "related data": by_mark["related"],
    }


def _describe_machine(entry: ModelEntry) -> str:
    words = {"needed": "a GPU", "advised": "runs on a CPU, a GPU is advised"}
    return "; ".join(filter(None, [words.get(entry.gpu, ""), "a server" if entry.server else ""]))


def _shorten_inputs(takes: str) -> str:
    if takes.startswith("queries: "):
        # As task ids spell modalities, so that two sides fit.
        sides = (_shorten_inputs(side.partition(": ")[2]) for side in takes.split("; "))
        return ">".join(re.sub("text|image", lambda word: word[0][0], side) for side in sides)
    if takes.startswith("what it"):
        return "own"
    return "all" if takes.startswith("text, image, both") else takes.replace(", ", "+")


def _shorten(licence: str) -> str:
    """Return a licence in a column's width: what follows a colon is left out, unconfirmed is a question mark."""
    name, _, doubt = licence.partition(" (")
    short = name.partition(":")[0] + ("?" if doubt.startswith("unconfirmed") else "")
    return "?" if short == "unconfirmed" else short


def _find_screen() -> Screen:
    """Return the terminal, or for a pipe a screen of 80 columns (or $COLUMNS): a list is read, not parsed (--json)."""
    return Screen(shutil.get_terminal_size((80, 24)).columns)
