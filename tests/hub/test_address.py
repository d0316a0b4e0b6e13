"""Addresses `hf://...` wherever a command takes lists or submissions."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.hub import TASKS
from tests.builders.hub.server import Hub

pytestmark = pytest.mark.hub

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]
LISTS, RESULTS = "hf://datasets/org/lists", "hf://datasets/org/results"
NAME = "org__random"
CARD = ("--organisation", "org", "--model-name", "random", "--allow-incomplete")


@pytest.fixture(autouse=True)
def lists(hub: Hub, made: Path) -> None:
    """Both lists in org/lists."""
    hub.repositories["org/lists", "1" * 40] = {path.name: path.read_bytes() for path in made.glob("*.parquet")}
    hub.branches["org/lists", "main"] = "1" * 40


def refused(done: Done, *words: str) -> None:
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stdout + done.stderr
    assert lines[-1].startswith(("mrb: ", "refused: ")) and all(word in lines[-1] for word in words), lines[-1]


def test_submissions_and_the_lists_that_they_were_scored_on(hub: Hub, mrb: Mrb, tmp_path: Path) -> None:
    run = ("run", "--model", "random", "--suite", "mini", "--limit", "2")
    assert mrb(*run).returncode == 0
    assert mrb("submission", "make", "runs/random", *CARD).returncode == 0
    folder = tmp_path / "submissions"
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    other = {"README.md": b"# Results", ".gitattributes": b"", f"{NAME}/../../outside/submission.json": b"{}"}
    hub.repositories["org/results", "2" * 40] = {**files, **other}
    hub.branches["org/results", "main"] = "2" * 40
    for address in (RESULTS, f"{RESULTS}/{NAME}", f"{RESULTS}@{'2' * 40}"):
        done = mrb("submission", "validate", address)
        assert done.returncode == 0 and f"valid: {NAME}" in done.stdout, done.stdout + done.stderr
    assert not list((tmp_path / "mrb").rglob("outside"))
    done = mrb("submission", "verify", f"{RESULTS}/{NAME}", "--model", "random", "--queries", "1")
    assert done.returncode == 0 and "verified" in done.stdout, done.stderr
    done = mrb("leaderboard", "build", RESULTS)
    assert done.returncode == 0 and (tmp_path / "site" / "index.html").is_file(), done.stderr
    hub.requests.clear()
    assert mrb("submission", "validate", f"{RESULTS}/{NAME}", env={"MRB_OFFLINE": "1"}).returncode == 0
    assert hub.requests == []
    # Lists of an address that lacks those of the submission, and addresses with no submission.
    lists = ("--candidates", LISTS)
    refused(mrb("submission", "validate", f"{RESULTS}/{NAME}", *lists), "no list for task")
    refused(mrb("submission", "verify", f"{RESULTS}/{NAME}", "--model", "random", *lists), "no list for task")
    refused(mrb("submission", "make", "runs/random", *CARD, *lists), "no list for task")
    for command in (
        ("submission", "validate"), ("submission", "verify", "--model", "random"), ("leaderboard", "build"),
    ):  # fmt: skip
        refused(mrb(*command, LISTS), LISTS, "no submission there")
        refused(mrb(*command, "hf://datasets/org/none"), "org/none", "no such repository")
        refused(mrb(*command, "hf://org/none"), "not an address on the Hub")
        refused(mrb(*command, "https://example.org/results"), "no such file or folder")
        refused(mrb(*command, "absent"), "absent: no such file or folder")


def test_lists_are_shown_and_checked(mrb: Mrb) -> None:
    done = mrb("candidates", "check", LISTS)
    assert done.returncode == 0 and done.stdout.count(": ok, ") == 2, done.stderr
    assert mrb("candidates", "check", LISTS, "--task", TASKS[0]).stdout.count(": ok, ") == 1
    refused(mrb("candidates", "show", LISTS), "several lists", TASKS[0], "--task")
    shown = mrb("candidates", "show", LISTS, "--task", TASKS[0])
    assert shown.returncode == 0 and f"task         {TASKS[0]}" in shown.stdout, shown.stderr
    refused(mrb("candidates", "show", TASKS[0], "--task", TASKS[0]), "--task", "address")
    refused(mrb("candidates", "show", f"{LISTS}/none"), "no such file or folder")
    refused(mrb("candidates", "check", "hf://datasets/org/none"), "no such repository")


def test_a_check_and_training_data_take_lists(mrb: Mrb) -> None:
    task = ("--task", TASKS[0], "--candidates", LISTS)
    done = mrb("check", "random", "--requests", "1", *task)
    assert done.returncode == 0, done.stderr
    done = mrb("train", "data", "--depth", "4", *task)
    refused(done, "no group is left; 102 groups of test data")  # the list was read; the task itself is held out
    for command in (("check", "random"), ("train", "data")):
        refused(mrb(*command, "--task", TASKS[0], "--candidates", f"{LISTS}@none"), "no such revision")
        refused(mrb(*command, "--task", "mini-faq-t2t", "--candidates", LISTS), "no list for task mini-faq-t2t")
