"""CQADupStack with forums of unequal size: every command's number is the mean over forums."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.builders.hub.server import Hub

pytestmark = pytest.mark.hub

Mrb = Callable[..., subprocess.CompletedProcess[str]]
ENGLISH = ("mteb/cqadupstack-english", "ad9991cb51e31e31e430383c75ffb2885547b5f0")
TASK = ("--task", "cqadupstack")
LISTS = ("--candidates", "candidates")


def means(path: Path) -> tuple[float, float]:
    """nDCG@10 over forums and over queries, times 100."""
    table = pq.read_table(path / "cqadupstack" / "per_query.parquet").to_pandas()
    forums = table["query_id"].str.partition("/")[0]
    sizes = forums.value_counts()
    assert len(sizes) == 12 and sizes["english"] == 8 and set(sizes.drop("english")) == {6}
    return 100 * table.groupby(forums)["nDCG@10"].mean().mean(), 100 * table["nDCG@10"].mean()


def test_every_number_is_the_mean_over_forums(hub: Hub, mrb: Mrb, tmp_path: Path) -> None:
    # Two more judged queries in one forum; what answers them shares no word with them.
    rows = [{"query-id": f"q{n}", "corpus-id": "d0", "score": 1} for n in (6, 7)]
    hub.repositories[ENGLISH]["qrels/test.jsonl"] += "".join(json.dumps(row) + "\n" for row in rows).encode()

    def said(*arguments: str) -> str:
        done = mrb(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    made = said("candidates", "make", *TASK, "--first-stage", "bm25", "--depth", "5")
    for model in ("surface", "random"):
        said("run", "--model", model, *TASK, *LISTS, "--depth", "5")
    forums, queries = means(tmp_path / "runs" / "surface")
    assert abs(forums - queries) > 0.1
    result = json.loads((tmp_path / "runs" / "surface" / "cqadupstack" / "result.json").read_text())
    assert 100 * result["measures"]["nDCG@10"]["mean"] == pytest.approx(forums)

    first = f"{100 * result['first_stage']['nDCG@10']['mean']:.2f}"
    assert f"nDCG@10 {first} (oracle {100 * result['oracle']['nDCG@10']['mean']:.2f})" in made
    assert f"nDCG@10 {first}" in said("candidates", "show", "candidates/cqadupstack.parquet")

    assert said("recompute", "runs/surface", *LISTS) == "cqadupstack: identical\n"
    scores = "runs/surface/cqadupstack/scores.parquet"
    scored = said("score", scores, *TASK, *LISTS, "--depth", "5", "--name", "again", "--out", "runs")
    assert f"{forums:.2f}" in scored
    again = json.loads((tmp_path / "runs" / "again" / "cqadupstack" / "result.json").read_text())
    assert again["measures"] == result["measures"]

    compared = json.loads(said("compare", "runs/random", "runs/surface", "--json"))
    (task,) = compared["tasks"]
    base = means(tmp_path / "runs" / "random")[0]
    assert 100 * np.array(task["means"]) == pytest.approx((base, forums))
    assert 100 * task["differences"][0]["mean"]["difference"] == pytest.approx(forums - base)
    assert compared["over_tasks"]["means"] == pytest.approx(task["means"])

    said("leaderboard", "build", "runs/surface", "runs/random", "--out", "site")
    page = (tmp_path / "site" / "index.html").read_text()
    assert re.search(rf">{forums:.2f}<", page)
