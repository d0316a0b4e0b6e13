"""OVEN judges documents that its corpus lacks: dropped by default, kept with --raw-qrels, never compared."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.builders.hub.server import Hub

pytestmark = pytest.mark.hub

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]
TASK = ("--task", "oven-it2t")
ASKED = (*TASK, "--candidates", "candidates", "--depth", "8")


def test_raw_judgements_stay_in_the_ideal(hub: Hub, mrb: Mrb, tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        done = mrb(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def result(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((tmp_path / "runs" / name / "oven-it2t" / "result.json").read_text())
        return found

    said("candidates", "make", *TASK, "--first-stage", "bm25", "--depth", "8")
    said("run", "--model", "surface", *ASKED)
    said("run", "--model", "surface", *ASKED, "--raw-qrels", "--name", "raw")
    cleaned, raw = result("surface"), result("raw")
    assert (cleaned["data"]["qrels"], raw["data"]["qrels"]) == ("cleaned", "raw")
    assert cleaned["task_hash"] != raw["task_hash"] and cleaned["candidates"] == raw["candidates"]
    counts = [one["data"]["loading"] for one in (cleaned, raw)]
    assert [one["qrels_outside_corpus"] for one in counts] == [2, 2]
    assert [one["qrels"] for one in counts] == [7, 9]
    # Queries 0 and 2 have a positive that nothing can find: their ideal is 1 + 1 / log2(3), not 1.
    values = [
        pq.read_table(tmp_path / "runs" / name / "oven-it2t" / "per_query.parquet") for name in ("surface", "raw")
    ]
    before, after = (table.column("nDCG@10").to_pylist() for table in values)
    for row in range(6):
        assert after[row] == pytest.approx(before[row] * (0.6131471927654584 if row in (0, 2) else 1), abs=1e-6)
    assert raw["oracle"]["nDCG@10"]["mean"] < cleaned["oracle"]["nDCG@10"]["mean"]

    refused = mrb("compare", "runs/surface", "runs/raw")
    assert refused.returncode == 2 and "data.qrels is cleaned and raw" in refused.stderr
    assert said("submission", "validate", "runs/raw").count("valid:") == 1
    assert said("recompute", "runs/raw", "--candidates", "candidates") == "oven-it2t: identical\n"
    page = tmp_path / "site" / "index.html"
    said("leaderboard", "build", "runs/surface", "runs/raw", "--out", "site")
    assert page.read_text().count('<section class="comparison"') == 2

    scores = "runs/surface/oven-it2t/scores.parquet"
    assert "Raw qrels" in said("score", scores, *ASKED, "--raw-qrels", "--name", "again", "--out", "runs")
    assert result("again")["measures"] == raw["measures"]
    same = mrb("run", "--model", "surface", *ASKED, "--raw-qrels")
    assert same.returncode == 2 and "--name" in same.stderr
    assert mrb("recompute", "runs/raw", "--raw-qrels").returncode == 2


def test_a_query_whose_positives_are_all_outside_counts_as_nothing(hub: Hub, mrb: Mrb, tmp_path: Path) -> None:
    (key,) = (key for key in hub.repositories if key[0] == "mteb/mbeir_oven_task6")
    path = next(path for path in hub.repositories[key] if path.startswith("qrels/"))
    table = pq.read_table(io.BytesIO(hub.repositories[key][path]))
    rows = [row for row in table.to_pylist() if (row["query-id"], row["corpus-id"]) != ("9:500", "9:0")]
    assert len(rows) == table.num_rows - 1
    buffer = io.BytesIO()
    pq.write_table(type(table).from_pylist(rows, table.schema), buffer)
    hub.repositories[key][path] = buffer.getvalue()
    assert mrb("candidates", "make", *TASK, "--first-stage", "bm25", "--depth", "8").returncode == 0
    for name, extra in (("cleaned", ()), ("raw", ("--raw-qrels",))):
        done = mrb("run", "--model", "surface", *ASKED, "--name", name, *extra)
        assert done.returncode == 0, done.stderr
        counts = json.loads((tmp_path / "runs" / name / "oven-it2t" / "result.json").read_text())["counts"]
        assert (counts["queries"], counts["queries_without_candidates"]) == ((5, 0) if name == "cleaned" else (6, 1))
