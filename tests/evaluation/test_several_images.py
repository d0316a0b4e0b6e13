"""A task whose documents have several images, from the command to the board; who does not declare them is left out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.errors import ResultError
from mrb.leaderboard.build import build
from mrb.results.run import load_run
from mrb.results.schema import check_registry

pytestmark = pytest.mark.slow

Mrb = Callable[..., subprocess.CompletedProcess[str]]

TASK = "mini-section-t2vd"
ONE = """
class One:
    {declared}
    def score(self, request):
        return [float(c.image is None) for c in request.candidates]
"""
COUNT = """
class Count:
    max_images = 3
    def score(self, request):
        return [len(c.images) + image_sum(c) for c in request.candidates]

def image_sum(item):
    return sum(image.size[0] for image in item.images) / 1e6
"""


def test_it_runs_from_the_command_to_the_board(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "count.py").write_text(COUNT)
    for model in ("surface", "count.py"):
        done = mrb("run", "--model", model, "--task", TASK, "--depth", "25")
        assert done.returncode == 0, done.stderr
    run = load_run(tmp_path / "runs" / "count")
    result = run.tasks[TASK].result
    assert result.reranker.max_images == 3 and result.measures["nDCG@10"].mean != result.first_stage["nDCG@10"].mean
    stored = json.loads((tmp_path / "runs" / "surface" / TASK / "result.json").read_text())
    assert stored["reranker"]["max_images"] is None
    check_registry(result, "here")
    fewer = result.model_copy(update={"reranker": result.reranker.model_copy(update={"max_images": 2})})
    with pytest.raises(ResultError, match="takes fewer images per item than the 3 of task mini-section-t2vd"):
        check_registry(fewer, "here")
    assert "up to 3 per document" in mrb("tasks", TASK).stdout

    site = tmp_path / "site"
    build([run.folder, tmp_path / "runs" / "surface"], site)
    page = (site / "queries" / TASK / "1.html").read_text()
    assert 'alt="image 3 of pages-' in page and 'alt="image of page-' in page
    listed = (site / "data" / "corpus" / f"{TASK}.js").read_text()
    assert listed.count("images/") == 89


@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        ("", "documents have up to 3 images; the reranker declares max_images = 1"),
        ("max_images = 2", "documents have up to 3 images; the reranker declares max_images = 2"),
    ],
)
def test_an_adapter_that_does_not_declare_them_does_not_cover_it(
    mrb: Mrb, tmp_path: Path, declared: str, shown: str
) -> None:
    (tmp_path / "one.py").write_text(ONE.format(declared=declared))
    done = mrb("run", "--model", "one.py", "--task", TASK, "--depth", "25")
    assert shown in done.stdout + done.stderr
    assert not (tmp_path / "runs" / "one" / TASK).exists()


def test_an_adapter_that_declares_them_and_reads_one_is_stopped(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(ONE.format(declared="max_images = None"))
    done = mrb("run", "--model", "one.py", "--task", TASK, "--depth", "25")
    assert done.returncode == 2
    assert TASK in done.stderr and "images, and code that takes one image reads it" in done.stderr.splitlines()[-1]
