"""Run what a page of the docs tells a reader to do, in one folder and in the page's order.

- ```` ```console ````: commands after `$ `; lines below a command are what it prints on stdout.
- ```` ```python ```` after `<!-- example: NAME.py -->`, or with `# NAME.py` as its first line: a file to save.
- ```` ``` ```` after `<!-- run -->`: commands for the shell.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.command import run_mrb

_BLOCK = re.compile(r"(?:<!-- (run|example): ?(\S*) -->\n)?```(\w*)\n(.*?)```", re.DOTALL)
_NUMBER = re.compile(r"[-+]?\d+\.\d+")


def run_page(page: Path, folder: Path, *, torch: bool = False) -> int:
    """Run the page's commands in `folder` and compare what they print with what it shows; return their number."""
    commands = 0
    for mark, name, language, body in _BLOCK.findall(
        page.read_text(encoding="utf-8").replace("<!-- run -->", "<!-- run: -->")
    ):
        named = name or "".join(re.findall(r"\A# (\w+\.py)", body))
        if language == "python" and named:
            (folder / named).write_text(body)
        elif mark == "run":
            subprocess.run(["sh", "-e", "-c", body], cwd=folder, check=True)
        elif language == "console":
            for step in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, _, shown = step.partition("\n")
                compare_lines(_run(command, folder, torch), shown)
                commands += 1
    return commands


def _run(command: str, folder: Path, torch: bool) -> str:
    program, *words = shlex.split(command, comments=True)
    if program == "mrb" and not {"|", ">", "*"} & set(command):
        done = run_mrb(folder, *words, torch=torch)
    else:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path}
        done = subprocess.run(
            ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def compare_lines(printed: str, shown: str) -> None:
    """Compare what a command printed with what a page shows; nothing shown agrees with everything.

    Numbers may differ by 0.3: another processor's rounding may swap two candidates that are nearly alike.
    """
    if not shown.strip():
        return
    told, got = shown.strip().splitlines(), printed.strip().splitlines()
    assert len(told) == len(got), printed
    for wanted, line in zip(told, got, strict=True):
        assert _NUMBER.sub("#", line).split() == _NUMBER.sub("#", wanted).split()
        numbers = [float(number) for number in _NUMBER.findall(wanted)]
        assert [float(number) for number in _NUMBER.findall(line)] == pytest.approx(numbers, abs=0.3), line
