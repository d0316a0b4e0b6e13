"""The commands of docs/own-data.md print what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "own-data.md"


def test_the_pages_commands_print_what_stands_there(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    [(name, code)] = re.findall(r"```python\n# (\w+\.py).*?\n(.*?)```", text, re.DOTALL)
    (tmp_path / name).write_text(code)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for command, printed in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE):
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=tmp_path,
                env={**os.environ, "PATH": path, "COLUMNS": "80"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{command}: {done.stderr}"
            if printed:
                assert done.stdout == printed, command
