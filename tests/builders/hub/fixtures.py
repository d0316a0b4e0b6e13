"""The `mrb` command in processes of their own, against a Hub on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.builders.commands import start_commands
from tests.builders.hub import TASKS
from tests.builders.hub.repositories import repositories
from tests.builders.hub.server import Hub

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def all_files() -> dict[tuple[str, str], dict[str, bytes]]:
    """The files of every repository of the table, by (name, revision)."""
    return {(repository.name, repository.revision): repository.files() for repository in repositories()}


@pytest.fixture
def hub(all_files: dict[tuple[str, str], dict[str, bytes]]) -> Iterator[Hub]:
    """A Hub of the test's own, with every repository."""
    with Hub({key: dict(files) for key, files in all_files.items()}) as hub:
        yield hub


@pytest.fixture(scope="session")
def environment() -> Callable[[Path, str], dict[str, str]]:
    """`environment(folder, url)`: what makes a process use the Hub at `url`, with its caches in `folder`."""
    return lambda folder, url: {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "MRB_"))},
        "HF_ENDPOINT": url,
        "HF_HOME": str(folder / "hf"),
        "MRB_CACHE": str(folder / "mrb"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, environment: Callable[[Path, str], dict[str, str]]) -> Path:
    """A folder with the lists of two tasks, one of them with the manifest of its retriever."""
    folder = tmp_path_factory.mktemp("made")
    command = ["candidates", "make", "--out", "lists"]
    for task, model in zip(TASKS, ("bm25", "colour-words"), strict=True):
        done = start_commands().run(
            [*command, "--task", task, "--first-stage", model, "--depth", "30", "--candidate-set", "tried"],
            folder,
            environment(folder, "http://127.0.0.1:9"),
        )
        assert done.returncode == 0, done.stderr
    (folder / "lists" / f"{TASKS[1]}.manifest.json").unlink()
    return folder / "lists"


@pytest.fixture
def mrb_on_hub(tmp_path: Path, hub: Hub, environment: Callable[[Path, str], dict[str, str]]) -> Callable[..., Done]:
    """`mrb_on_hub(*arguments, env={})` in `tmp_path`, against `hub`, or with `python` the interpreter."""

    def run(*arguments: str, env: dict[str, str] | None = None, python: bool = False) -> Done:
        variables = {**environment(tmp_path, hub.url), **(env or {})}
        if not python:
            return start_commands().run(arguments, tmp_path, variables)
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300)

    return run
