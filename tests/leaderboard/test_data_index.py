"""The index of a board's data: every file is in it, and fits the schema that it names."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from mrb.errors import MRBError
from mrb.leaderboard.badges import Badge
from mrb.leaderboard.board_summary import BoardSummary
from mrb.leaderboard.build import build
from mrb.leaderboard.data_index import DataIndex, TableFile
from mrb.leaderboard.pages import exports, models
from mrb.leaderboard.site import make_site
from mrb.leaderboard.tables.runs import read_entries
from mrb.results.schema import Result, RunRecord
from tests.builders.run_folders import write_run_folder

MakeRun = Callable[..., Path]
MODELS = {
    "badge": Badge,
    "board": BoardSummary,
    "data-index": DataIndex,
    "result": Result,
    "run": RunRecord,
    "table": TableFile,
}


def test_every_file_is_listed_and_fits_its_schema(tmp_path: Path) -> None:
    cover = ["mini-flag-t2i", "mini-faq-t2t"]
    run = write_run_folder(tmp_path / "one", 0.5, cover=cover, queries=8)
    root = build([run], tmp_path / "site", url="https://example.org").parent
    index = DataIndex.model_validate_json((root / "data" / "index.json").read_bytes())
    listed = {entry.path: entry for entry in index.files}
    found = {str(path.relative_to(root)) for form in ("json", "csv") for path in root.rglob(f"*.{form}")}
    assert listed.keys() == found and index.url == "https://example.org/"
    used = set()
    for path, entry in listed.items():
        if entry.form == "json":
            assert entry.schema_name is not None and not entry.columns
            TypeAdapter(MODELS[entry.schema_name]).validate_python(json.loads((root / path).read_bytes()), strict=False)
            used.add(entry.schema_name)
        elif entry.columns:
            assert tuple(next(csv.reader((root / path).open()))) == entry.columns
    assert used == MODELS.keys()


def test_a_model_has_results_for_its_repository_if_a_benchmark_is_named(make_run: MakeRun) -> None:
    site = make_site(read_entries([make_run("one", 0.5, tasks=["mini-flag-t2i"], queries=8)]))
    path = "data/eval-results/one.yaml"
    assert path not in {page.path for page in exports.make_files(site)}
    named = replace(site, benchmark="org/bench@v1")
    (page,) = (page for page in exports.make_files(named) if page.path == path)
    (entry,) = yaml.safe_load(page.data)
    assert entry["dataset"] == {"id": "org/bench", "task_id": "mini-flag-t2i", "revision": "v1"}
    mean = site.runs[0].tasks["mini-flag-t2i"].result.measures["nDCG@10"].mean
    assert entry["value"] == pytest.approx(100 * mean, abs=1e-4)
    (shown,) = (page for page in models.make_files(named) if page.path == "models/one.html")
    assert f'href="../{path}"' in shown.data.decode()
    with pytest.raises(MRBError, match="--benchmark"):
        list(exports.make_files(replace(site, benchmark="<script>")))
