"""The index of a board's data: every file is in it, and fits the schema that it names."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from pydantic import TypeAdapter

from mrb.leaderboard.badges import Badge
from mrb.leaderboard.board_summary import BoardSummary
from mrb.leaderboard.build import build
from mrb.leaderboard.data_index import DataIndex, TableFile
from mrb.results.schema import Result, RunRecord
from tests.builders.run_folders import write_run_folder

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
