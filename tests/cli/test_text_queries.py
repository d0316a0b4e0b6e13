"""A reranker that takes text queries only, from the outside: its run, average, submission and place on the board."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.leaderboard.site import make_site
from mrb.leaderboard.tables.runs import read_entries

pytestmark = pytest.mark.slow

Mrb = Callable[..., subprocess.CompletedProcess[str]]
IMAGE_QUERIES = "mini-emoji-i2i, mini-flag-i2t, mini-fact-it2t, mini-emoji-it2i, mini-fact-it2it"
ADAPTER = """
class TextQueries:
    inputs = {"query": ("text",), "document": ("text", "image", "image+text")}
    batch_invariant = True

    def score(self, request):
        if request.query.image is not None:
            raise ValueError("Queries must be text")
        words = set(request.query.text.split())
        return [len(words & set(d.text.split())) + len(d.content_hash.lstrip("0")) / 100 for d in request.candidates]
"""


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_average(table: str, label: str) -> str:
    found = re.search(rf"{label} +[0-9.]+ +([0-9.]+) \[", table)
    assert found is not None, table
    return found.group(1)


def test_from_a_run_over_the_suite_to_the_board(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "textq.py").write_text(ADAPTER)
    run = ok(mrb("run", "--model", "textq", "--suite", "mini"))
    assert f"not covered: the reranker takes queries of text (5 tasks): {IMAGE_QUERIES}" in run
    assert "no average of suite mini: 5 of 9 types missing" in run
    record = json.loads((tmp_path / "runs" / "textq" / "run.json").read_text())
    assert record["reranker"]["inputs"] == {"query": ["text"], "document": ["text", "image", "image+text"]}
    shown = read_average(run, "text-query: 4 types")
    assert "takes queries of text (5 tasks)" in ok(mrb("check", "textq", "--suite", "mini"))

    # A call on the sub-suite continues the run and leaves it one of the whole suite.
    again = mrb("run", "--model", "textq", "--suite", "mini-text-query")
    assert "scored before" in again.stderr and ok(again) == run
    alone = ok(mrb("run", "--model", "textq", "--suite", "mini-text-query", "--name", "alone"))
    assert read_average(alone, "average over 4 types") == shown and "not covered" not in alone

    found = json.loads(ok(mrb("compare", "runs/alone", "runs/textq", "--suite", "mini-text-query", "--json")))
    assert (len(found["tasks"]), found["of"], found["missing"]) == (4, 4, {})
    table = ok(mrb("export", "runs/alone", "runs/textq", "--format", "markdown", "--suite", "mini-text-query"))
    assert "| average over 4 types |" in table and "i2i" not in table
    unknown = mrb("compare", "runs/alone", "runs/textq", "--suite", "mini-text")
    assert unknown.returncode == 2 and "unknown suite 'mini-text' (did you mean mini-text-query" in unknown.stderr
    other = mrb("export", "runs/textq", "--format", "csv", "--suite", "mrb-text-query")
    assert other.returncode == 2 and "runs/textq: has no result of suite mrb-text-query" in other.stderr

    ok(mrb("submission", "make", "runs/textq", "--organisation", "mrb", "--model-name", "textq"))
    assert "4 of 4 tasks recomputed, mini" in ok(mrb("submission", "validate", "submissions/mrb__textq"))
    site = make_site(read_entries([tmp_path / "runs" / "alone", tmp_path / "submissions"]))
    ((board,),) = (whole.parts for whole in site.boards.values())
    rows = {run.name: [cell.text for cell in cells] for run, cells in board.iterate_rows(board.tabs[0], "nDCG@10")}
    assert board.id == "mini-text-query-25" and board.standing.ranked == 1
    assert shown in rows["mrb__textq"]
    assert "alone" not in rows, "a run whose results are those of a submission has no row of its own"
