"""Every command of docs/running.md works, in the page's order."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "running.md"
Mrb = Callable[..., subprocess.CompletedProcess[str]]


def test_the_commands_of_the_page_run(mrb: Mrb, tmp_path: Path) -> None:
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    commands = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    assert len(commands) > 8
    for command in commands:
        words = shlex.split(command, comments=True)
        assert words[0] == "mrb"
        done = mrb(*words[1:])
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert (tmp_path / "site" / "index.html").is_file()
