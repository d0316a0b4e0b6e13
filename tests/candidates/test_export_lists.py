"""Lists for mteb. benchmarks/mteb_predictions.py shows with mteb itself that it reads them in the same order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mrb.candidates.export_lists import write_predictions, write_top_ranked
from mrb.candidates.lists import Candidates, build_candidates, make_provenance, write_parquet
from mrb.candidates.score_files import read_scores
from mrb.candidates.task_scores import read_task_scores
from mrb.data.task import Task, load_task
from mrb.errors import CandidatesError
from tests.builders.command import run_mrb


def made(task: Task, *rows: tuple[str, list[str], list[float]]) -> Candidates:
    return build_candidates(make_provenance(task, "bm25", 3, "t"), iter(rows))


FORUMS = [
    ("android/1", ["android/9", "android/2"], [2.0, 2.0]),
    ("gis/1", ["gis/5"], [0.5]),
]


def test_a_table_has_the_order_and_the_ids_of_the_source(tmp_path: Path) -> None:
    task = load_task("docvqa")
    (path,) = write_top_ranked(made(task, ("3", ["8", "2"], [1.5, 0.25])), task, tmp_path)
    assert path == tmp_path / "top_ranked" / "test-00000-of-00001.parquet"
    assert read_scores(path) == {"3": {"8": -1.0, "2": -2.0}}
    assert "path: top_ranked/test-*" in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text("mine")
    write_top_ranked(made(task, ("3", ["8"], [1.5])), task, tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine", "a README that is there stays"


def test_predictions_of_several_parts_come_back_as_they_were(tmp_path: Path) -> None:
    task = load_task("cqadupstack")
    files = write_predictions(made(task, *FORUMS), task, tmp_path)
    assert len(files) == 12 and files[3].name == "CQADupstackGisRetrieval_predictions.json"
    assert json.loads(files[0].read_text())["default"] == {"test": {"1": {"9": 2.0, "2": 2.0}}}
    lists = [json.loads(file.read_text())["default"]["test"] for file in files]
    assert sum(map(len, lists)) == 2
    (tmp_path / files[1].name).write_text(files[3].read_text())  # an empty file is refused by the reader
    assert read_task_scores(files[3], task) == {"gis/1": {"gis/5": 0.5}}
    (table, *_) = write_top_ranked(made(task, *FORUMS), task, tmp_path / "tables")
    assert table.parent.parent.name == "android" and read_scores(table) == {"1": {"9": -1.0, "2": -2.0}}


def test_what_mteb_has_not_is_refused(tmp_path: Path) -> None:
    task = load_task("mini-faq-t2t")
    with pytest.raises(CandidatesError, match="no set that is known as mini-faq-t2t; --format top_ranked"):
        write_predictions(made(task), task, tmp_path)
    several = load_task("vidore2-esg")
    with pytest.raises(CandidatesError, match="divides by language"):
        write_predictions(made(several), several, tmp_path)


@pytest.mark.slow
def test_the_command_writes_both_forms(tmp_path: Path) -> None:
    task = load_task("docvqa")
    write_parquet(made(task, ("3", ["8", "2"], [1.5, 0.25])), tmp_path / "docvqa.parquet")
    done = run_mrb(tmp_path, "candidates", "export", "docvqa.parquet")
    assert done.stdout == "exported/docvqa/top_ranked/test-00000-of-00001.parquet\n", done.stderr
    done = run_mrb(tmp_path, "candidates", "export", "docvqa.parquet", "--format", "mteb", "--out", "p")
    assert done.stdout == "p/VidoreDocVQARetrieval_predictions.json\n", done.stderr
    found = json.loads((tmp_path / "p" / "VidoreDocVQARetrieval_predictions.json").read_text())
    assert found["default"] == {"test": {"query-test-3": {"corpus-test-8": 1.5, "corpus-test-2": 0.25}}}
