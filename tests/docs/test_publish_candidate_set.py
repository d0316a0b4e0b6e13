"""The figures of docs/publish-a-candidate-set.md are what its commands print. Making, running and pushing a set in this
way is in tests/retrieval/test_make_lists.py."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from mrb.cli.main import cli

PAGE = (Path(__file__).parents[2] / "docs" / "publish-a-candidate-set.md").read_text(encoding="utf-8")


def test_the_figures_are_printed_by_the_commands() -> None:
    commands = re.findall(r"^\$ mrb (.*--dry-run.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 2
    done = [CliRunner().invoke(cli, shlex.split(command)) for command in commands]
    printed = [line for one in done for line in one.output.splitlines()]
    block = re.search(r"1 and 8 GPUs:\n\n```\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None and len(block[1].splitlines()) == 4
    assert set(block[1].splitlines()) <= set(printed)
    (network,) = re.findall(r"The network: (.*? unknown size)", PAGE)
    assert all(f"{network.replace(', and', ' to fetch and')}" in one.output for one in done)
