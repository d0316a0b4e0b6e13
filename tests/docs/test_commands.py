"""Every `mrb` command that a page shows, run by the tests or not, is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from mrb.cli.main import cli
from mrb.errors import MRBError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shown(page: Path) -> list[str]:
    """The lines of a page's console and plain blocks that begin with `mrb`."""
    text = page.read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```(?:console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    return re.findall(r"^(?:\$ )?(mrb .*)$", blocks, re.MULTILINE)


COMMANDS = [(str(page.relative_to(ROOT)), line) for page in PAGES for line in shown(page)]


def parsed(words: list[str]) -> None:
    """Click's own parser over the words of one command: `UsageError` where it does not know one of them."""
    command: click.Command = cli
    context = click.Context(command)
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None and name is not None
        command, context = found, click.Context(found, parent=context, info_name=name)
    _, rest, _ = command.make_parser(context).parse_args(list(words))
    assert not rest or any(argument.nargs == -1 for argument in command.params)


def test_the_pages_show_commands() -> None:
    assert len(COMMANDS) > 60
    assert len({page for page, _ in COMMANDS}) > 10


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_a_shown_command_is_taken(page: str, line: str) -> None:
    parsed(shlex.split(line, comments=True)[1:])


@pytest.mark.parametrize("line", ["run --modle surface", "tasks --suite mrb a b", "recomputed runs/a", "data fetch"])
def test_one_that_is_not_there_is_refused(line: str) -> None:
    with pytest.raises((click.UsageError, MRBError, AssertionError)):
        parsed(line.split())
