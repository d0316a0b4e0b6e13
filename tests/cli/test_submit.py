"""From a run to the board as a user goes: run, submit, validate, verify, build; and what a changed byte does."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "submitting.md"
Mrb = Callable[..., subprocess.CompletedProcess[str]]
MODELS = ("random", "surface", "bm25")


def submission(mrb: Mrb, model: str) -> str:
    """Run and submit a model on a part of mini; the submission's folder."""
    done = mrb("run", "--model", model, "--suite", "mini", "--limit", "10")
    assert done.returncode == 0, done.stderr
    names = ("--organisation", "mrb", "--model-name", model)
    refused = mrb("submission", "make", f"runs/{model}", *names)
    assert refused.returncode == 2 and "--allow-incomplete" in refused.stderr
    done = mrb("submission", "make", f"runs/{model}", *names, "--allow-incomplete")
    assert done.returncode == 0, done.stderr
    return done.stdout.removeprefix("submission: ").strip()


def test_run_submit_validate_build(mrb: Mrb, tmp_path: Path) -> None:
    folders = [submission(mrb, model) for model in MODELS]
    assert folders == [f"submissions/mrb__{model}" for model in MODELS]
    done = mrb("submission", "validate", *folders)
    assert done.returncode == 0, done.stderr
    assert [line.rpartition("valid: ")[2] for line in done.stdout.splitlines()] == [
        "mrb__random, 9 of 9 tasks recomputed, mini",
        "mrb__surface, 9 of 9 tasks recomputed, mini",
        "mrb__bm25, 4 of 4 tasks recomputed, mini",
    ]
    done = mrb("leaderboard", "build", "submissions", "--out", "site")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "index.html").read_text()
    for model in MODELS:
        assert f'href="data/mrb__{model}/submission.json"' in page
    for folder in folders:
        _pages(tmp_path, folder)
    verify = ("submission", "verify", folders[0], "--model", "random", "--queries", "3")
    done = mrb(*verify)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "verified" / "mrb__random.json"
    record = json.loads(path.read_text())
    assert re.fullmatch(r"[0-9a-f]{32}", record["salt"]) and len(record["tasks"]) == 9
    path.unlink()
    done = mrb(*verify, "--salt", record["salt"])
    assert done.returncode == 0 and "no record is written with --salt" in done.stdout and not path.exists()
    done = mrb("submission", "verify", folders[0], "--model", "surface")
    assert done.returncode == 2 and "reranker.name is 'random'" in done.stderr

    _flipped_bytes(mrb, tmp_path, folders[1])
    _changed_numbers(mrb, tmp_path, folders[1])


def _pages(home: Path, folder: str) -> None:
    """The page of the model and those of its tasks have the submission's own numbers, and lead to its record."""
    site, name = home / "site", Path(folder).name
    submission = json.loads((home / folder / "submission.json").read_text())
    assert (site / "data" / name / "submission.json").read_bytes() == (home / folder / "submission.json").read_bytes()
    model = (site / "models" / f"{name}.html").read_text()
    for task_id, result in submission["results"].items():
        task = (site / "tasks" / f"{task_id}.html").read_text()
        found = result["measures"]["nDCG@10"]
        number = f'<a href="../data/{name}/submission.json">{100 * found["mean"]:.2f}</a>'
        interval = f"{100 * found['low']:.2f}–{100 * found['high']:.2f}"
        for page in (model, task):
            assert number in page and interval in page, task_id
        assert submission["rankings"][task_id]["sha256"] in model
        assert f'href="../models/{name}.html"' in task
        assert f'<g class="mark" data-run="{name}">' in task, "its values per query are at hand"


def _refused(mrb: Mrb, home: Path, damaged: list[Path], wanted: list[str]) -> None:
    """All in one command: each folder is refused in a line of its own, which names what is wanted of it."""
    done = mrb("submission", "validate", *[str(path.relative_to(home)) for path in damaged])
    assert done.returncode == 2 and done.stdout == "", done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == len(wanted) == len(damaged), done.stderr
    for line, folder, words in zip(lines, damaged, wanted, strict=True):
        assert str(folder.relative_to(home)) in line and words in line, line


def _copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / folder.name))


def _flipped_bytes(mrb: Mrb, home: Path, folder: str) -> None:
    """One byte of every file of rankings, at its beginning, middle and end: refused with the file named."""
    damaged, wanted = [], []
    for number, path in enumerate(sorted((home / folder / "rankings").iterdir())):
        copy = _copy(home / folder, home / f"flipped-{number}")
        data = path.read_bytes()
        place = (0, len(data) // 2, len(data) - 1)[number % 3]
        (copy / "rankings" / path.name).write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        damaged.append(copy)
        wanted.append(f"{path.name}: its SHA-256 is")
    assert len(damaged) == 9
    _refused(mrb, home, damaged, wanted)


def _changed_numbers(mrb: Mrb, home: Path, folder: str) -> None:
    """A number of each kind, changed in the seventh digit: refused with the number named."""
    original = (home / folder / "submission.json").read_text()
    fields = (
        "results/mini-flag-t2i/measures/nDCG@10/mean",
        "results/mini-fact-it2t/measures/MRR@10/high",
        "results/mini-page-t2vd/depths/10/Recall@5",
        "averages/tasks/nDCG@10/low",
        "averages/of_types/i2i/HitRate@1/high",
    )
    damaged, wanted = [], []
    for number, field in enumerate(fields):
        value = json.loads(original)
        *outer, leaf = field.split("/")
        inner = value
        for name in outer:
            inner = inner[name]
        inner[leaf] -= 1e-7 if leaf == "low" else -1e-7
        damaged.append(_copy(home / folder, home / f"changed-{number}"))
        (damaged[-1] / "submission.json").write_text(json.dumps(value))
        wanted.append(".".join(outer))
    _refused(mrb, home, damaged, wanted)


def test_the_commands_of_the_page_run(mrb: Mrb, tmp_path: Path) -> None:
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    commands = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    assert len(commands) == 5
    for command in commands:
        words = shlex.split(command)
        done = mrb(*words[1:])
        assert words[0] == "mrb" and done.returncode == 0, f"{command}: {done.stderr}"
    assert (tmp_path / "verified" / "example-lab__surface.json").is_file()
    assert (tmp_path / "site" / "index.html").is_file()
    (training,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "training.toml").write_text(training)
    shutil.rmtree(tmp_path / "submissions")
    words = "submission make runs/surface --organisation example-lab --model-name surface --size 1k"
    assert mrb(*words.split(), "--training", "training.toml").returncode == 0
    made = json.loads((tmp_path / "submissions" / "example-lab__surface" / "submission.json").read_text())
    assert made["training"]["mini-faq-t2t"] == "trained-on" and made["training"]["mini-page-t2vd"] == "clean"
