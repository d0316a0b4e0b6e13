"""Running `mrb` as a user does: the installed command, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path, and `watching` is a module of its own, not a test.
sys.path.insert(0, str(Path(__file__).parent))

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]


@pytest.fixture
def mrb(tmp_path: Path) -> Mrb:
    """`mrb(*arguments)` in `tmp_path`; `env` adds environment variables."""
    command = Path(sys.executable).with_name("mrb")

    def run(*arguments: str, env: dict[str, str] | None = None) -> Done:
        environment = {**os.environ, **(env or {})}
        return subprocess.run(
            [str(command), *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run
