"""Every command of docs/design/scale.md works and prints what stands below it."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Mrb = Callable[..., subprocess.CompletedProcess[str]]
PAGE = (Path(__file__).parents[2] / "docs" / "design" / "scale.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```console\n\$ (mrb plan .*)\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)


def test_the_page_shows_plans() -> None:
    assert len(BLOCKS) >= 6 and PAGE.count("```console") == len(BLOCKS)


@pytest.mark.parametrize(("line", "shown"), BLOCKS, ids=[line for line, _ in BLOCKS])
def test_a_plan_of_the_page_is_what_the_command_prints(mrb: Mrb, line: str, shown: str) -> None:
    """A line `...` stands for what the page leaves out."""
    done = mrb(*shlex.split(line)[1:], env={"MRB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    left = done.stdout
    for piece in shown.split("...\n"):
        found = f"\n{left}".find(f"\n{piece}")
        assert found >= 0, f"{piece}\nis not in\n{left}"
        left = left[found + len(piece) :]
