"""The wheel, installed outside the repository: what a stranger gets, without torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
BUILT_FROM = (
    "mrb",
    "tasks",
    "baselines",
    "leaderboard",
    "setup.cfg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "NOTICE",
)
TOO_LARGE = 30 * 1024 * 1024


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no build folder of this checkout can add or hide a file."""
    copy = tmp_path_factory.mktemp("source")
    for name in BUILT_FROM:
        source = ROOT / name
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, copy / name, ignore=ignore) if source.is_dir() else shutil.copy(source, copy / name)
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def mrb(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `mrb` command of a new virtual environment that has the wheel; its requirements are borrowed from ours."""
    venv = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    # A path line adds our packages but not our own .pth files, so the editable install stays invisible.
    (site / "requirements.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    return venv / "bin" / "mrb"


def _run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_it_is_small_enough(wheel: Path) -> None:
    assert wheel.stat().st_size <= TOO_LARGE


def test_it_is_the_wheel_that_runs(mrb: Path, tmp_path: Path) -> None:
    code = "import mrb, mrb.tasks, mrb.baselines, mrb.leaderboard; print(mrb.__file__, mrb.tasks.__file__)"
    done = _run([str(mrb.with_name("python")), "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(str(mrb.parents[1]) in place for place in done.stdout.split())


def test_tasks_run_and_board_work_from_any_folder(mrb: Path, tmp_path: Path) -> None:
    tasks = _run([str(mrb), "tasks", "--suite", "mrb", "--json"], tmp_path)
    assert tasks.returncode == 0, tasks.stderr
    assert len(json.loads(tasks.stdout)) == 40
    run = _run([str(mrb), "run", "--model", "surface", "--limit", "5"], tmp_path)
    assert run.returncode == 0, run.stderr
    assert "average over 9 tasks" in run.stdout
    board = _run([str(mrb), "leaderboard", "build", "runs/surface", "--out", "site"], tmp_path)
    assert board.returncode == 0, board.stderr
    assert "surface" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    valid = _run([str(mrb), "submission", "validate", "runs/surface"], tmp_path)
    assert valid.returncode == 0, valid.stderr
    assert valid.stdout.count("valid: surface on mini-") == 9


def test_torch_is_not_needed(mrb: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('torch must not be imported')\n")
    done = _run(["env", f"PYTHONPATH={tmp_path}", str(mrb), "run", "--model", "random", "--limit", "2"], tmp_path)
    assert done.returncode == 0, done.stderr
