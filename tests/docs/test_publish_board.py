"""The how-to on publishing a board: its workflow is sound and its build commands work on a small run."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import RepoCard

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"
PAGE = (DOCS / "publish-a-board.md").read_text(encoding="utf-8")
Mrb = Callable[..., subprocess.CompletedProcess[str]]
MakeRun = Callable[..., Path]


def expand(word: str, folder: Path) -> list[str]:
    """A word of a command as a shell in `folder` expands it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob(word)) if "*" in word else [word]


@pytest.fixture
def workflow() -> dict[str, Any]:
    found = yaml.safe_load((EXAMPLES / "board-pages.yml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_only_the_job_that_publishes_may_write(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    assert "permissions" not in build and publish["needs"] == "build"
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}
    assert [step["uses"].split("@")[0] for step in publish["steps"]] == ["actions/deploy-pages"]
    scripts = " ".join(step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"])
    assert "${{" not in scripts, "no text of others enters a script"


@pytest.mark.slow
def test_the_workflows_commands_build_the_folder_that_it_publishes(
    workflow: dict[str, Any], mrb: Mrb, make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("good", 0.9)
    make_run("poor", 0.1)
    steps = workflow["jobs"]["build"]["steps"]
    commands = [step["run"] for step in steps if step.get("run", "").startswith("mrb ")]
    assert commands and all(command in PAGE for command in commands)
    for command in commands:
        words = [name for word in shlex.split(command)[1:] for name in expand(word, tmp_path)]
        done = mrb(*words)
        assert done.returncode == 0, done.stderr
    (published,) = (step["with"]["path"] for step in steps if "upload-pages-artifact" in step.get("uses", ""))
    overview = (tmp_path / published / "index.html").read_text(encoding="utf-8")
    assert "good" in overview and "poor" in overview
    # A Space serves the same folder, beside a README that the board does not have.
    assert not (tmp_path / published / "README.md").exists()
    assert not any(path.is_symlink() for path in (tmp_path / published).rglob("*")), "Pages refuses links"


def test_the_spaces_readme_is_one_of_a_static_space() -> None:
    found = re.search(r"```yaml\n(---\n.*?---\n)```", PAGE, re.DOTALL)
    assert found
    settings = RepoCard(found.group(1)).data.to_dict()
    assert (settings["sdk"], settings["app_file"]) == ("static", "index.html")
