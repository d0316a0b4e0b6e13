"""`mrb run --dry-run` from the outside: it counts, times, and leaves nothing behind."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.command import count_uncovered

pytestmark = pytest.mark.slow

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]

TEXT_ONLY = """
class Words:
    inputs = ("text",)
    def score(self, request):
        words = set(request.query.text.split())
        return [len(words & set(d.text.split())) for d in request.candidates]
"""


def test_the_embedded_suite_is_checked_and_timed(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "my_adapter.py").write_text(TEXT_ONLY)
    done = mrb("run", "--model", "my_adapter", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "9 tasks: " in done.stdout and "image headers are sound" in done.stdout
    assert count_uncovered(done.stdout) == 8
    assert "timed on this machine" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["my_adapter.py"]


def test_its_pairs_are_those_of_the_run(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "my_adapter.py").write_text(TEXT_ONLY)
    arguments = ("run", "--model", "my_adapter", "--task", "mini-faq-t2t", "--limit", "7", "--depth", "9")
    assert "7 queries, 63 pairs" in mrb(*arguments, "--dry-run").stdout
    assert "mini-faq-t2t: 63 pairs" in mrb(*arguments).stderr


def test_its_lists_are_those_of_the_run(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "my_adapter.py").write_text(TEXT_ONLY)
    made = ("candidates", "make", "--first-stage", "bm25", "--candidate-set", "mine", "--depth", "9")
    assert mrb(*made, "--task", "mini-faq-t2t").returncode == 0
    chosen = ("run", "--model", "my_adapter", "--candidate-set", "mine", "--dry-run")
    done = mrb(*chosen, "--task", "mini-faq-t2t", "--depth", "9")
    assert done.returncode == 0 and "not published; the lists in candidates/mine" in done.stderr
    refused = mrb(*chosen, "--task", "mini-faq-t2t")
    assert refused.returncode == 2 and "the list is 9 deep, depth 25 was asked for" in refused.stderr
    refused = mrb(*chosen, "--task", "mini-flag-t2i", "--rate", "5")
    assert refused.returncode == 2 and "no candidate list at candidates/mine/mini-flag-t2i.parquet" in refused.stderr


def test_the_whole_benchmark_is_told_from_the_registry(mrb: Mrb, tmp_path: Path) -> None:
    done = mrb(
        "run", "--model", "no_such_model", "--suite", "mrb", "--dry-run", "--rate", "5", env={"MRB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "40 tasks: " in done.stdout and "1,411.0 h of scoring" in done.stdout
    assert list(tmp_path.iterdir()) == []
    for option in ("--rate", "--price"):
        refused = mrb("run", "--model", "surface", option, "5")
        assert refused.returncode == 2 and refused.stderr == f"mrb: {option} is for --dry-run\n"


def test_without_a_rate_the_model_is_timed_on_embedded_data(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "my_adapter.py").write_text(TEXT_ONLY)
    done = mrb("run", "--model", "my_adapter", "--suite", "mrb", "--dry-run", env={"MRB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    assert "of scoring for 14 of 40" in done.stdout and "Rates are those on the embedded task" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["my_adapter.py"]


def test_a_model_that_cannot_be_loaded_is_refused_after_the_data(mrb: Mrb) -> None:
    done = mrb("run", "--model", "no_such_model", "--task", "mini-flag-t2i", "--dry-run")
    assert done.returncode == 2
    assert done.stderr.startswith("mrb: unknown reranker 'no_such_model'") and done.stderr.count("\n") == 1
    assert "1 task: " in done.stdout
