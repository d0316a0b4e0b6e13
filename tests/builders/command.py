"""The installed command in a process of its own, and the one line in which a command or a call refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.commands import start_commands

MRB = str(Path(sys.executable).with_name("mrb"))
Done = subprocess.CompletedProcess[str]


def run_mrb(folder: Path, *arguments: object, torch: bool = False, **environment: str) -> Done:
    """Run `mrb ARGUMENTS` in `folder`, with more environment variables; `torch`: its adapter imports torch."""
    return start_commands(torch).run([*map(str, arguments)], folder, {**os.environ, **environment})


def read_refusal(done: Done, *words: str) -> str:
    """The one line, with `words` in it, that a command with exit code 2 ended in."""
    assert done.returncode == 2, done.stdout + done.stderr
    line = find_refusal(done.stderr)
    assert all(word in line for word in words), line
    return line


def find_refusal(stderr: str) -> str:
    """The last line of `stderr`, which alone says what is wrong; before it there may be progress."""
    (line,) = [line for line in stderr.splitlines() if line.startswith("mrb: ")]
    assert stderr.strip().splitlines()[-1] == line and "Traceback" not in stderr, stderr
    return line


def read_error(kind: type[Exception], call: Callable[..., object], *args: object, **keywords: object) -> str:
    """The one line of the error of `kind` in which the call ends."""
    with pytest.raises(kind) as caught:
        call(*args, **keywords)
    message = str(caught.value)
    assert "\n" not in message
    return message


def count_uncovered(text: str) -> int:
    """Number of tasks that lines `not covered: REASON (N tasks): ...` name."""
    return sum(int(found) for found in re.findall(r"^not covered: .*\((\d+) tasks?\): ", text, re.MULTILINE))
