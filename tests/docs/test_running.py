"""Every command of docs/quickstart.md, docs/running.md and docs/board.md works, in the page's order."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"
Mrb = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("page", "least"), [("quickstart.md", 6), ("running.md", 9), ("board.md", 4), ("publish-a-board.md", 3)]
)
def test_the_commands_of_the_page_run(mrb: Mrb, tmp_path: Path, page: str, least: int) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(code)
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    commands = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    assert len(commands) >= least
    for command in commands:
        words = shlex.split(command, comments=True)
        assert words[0] == "mrb"
        done = mrb(*words[1:])
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert (tmp_path / "site" / "index.html").is_file()
