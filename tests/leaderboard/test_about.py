"""The page on submitting has the commands of the guide, which the guide's test runs."""

from __future__ import annotations

import re
from pathlib import Path

from mrb.leaderboard.pages.about import STEPS

GUIDE = Path(__file__).parents[2] / "docs" / "submitting.md"


def test_the_commands_are_those_of_the_guide() -> None:
    (block,) = re.findall(r"```console\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert [f"$ {command}" for _, command in STEPS] == block.splitlines()
