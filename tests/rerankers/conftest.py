"""Adapters as files of a working folder, and as installed distributions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.builders.adapters import Write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder; modules that a test imports are forgotten afterwards.

    Scripts in benchmarks/, which other tests import by name, are not found from it.
    """
    modules = set(sys.modules)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry).name != "benchmarks"])
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def write(folder: Path) -> Write:
    def write_file(name: str, text: str) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    return write_file


@pytest.fixture
def site(folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`site(entries, distribution)`: a distribution with entry points, installed as pip leaves it."""

    def install(entries: str, distribution: str = "toys", group: str = "mrb.rerankers") -> None:
        info = f"site/{distribution}-1.2.dist-info"
        write(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        write(f"{info}/entry_points.txt", f"[{group}]\n{entries}\n")
        monkeypatch.syspath_prepend(str(folder / "site"))

    return install
