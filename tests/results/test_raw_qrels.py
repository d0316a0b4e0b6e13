"""Raw judgements make another experiment: it is named wherever its numbers stand, and mixes with no other."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.candidates.lists import check_task, make_provenance
from mrb.data.task import load_task
from mrb.errors import ResultError
from mrb.evaluation.spec import select_tasks
from mrb.leaderboard.build import build
from mrb.results.export import format_csv, format_latex
from mrb.results.run import RAW, average_over_tasks, load_run
from mrb.results.schema import check_registry
from mrb.results.table import format_run

MakeRun = Callable[..., Path]
TASKS = ("mini-faq-t2t", "mini-flag-t2i")


def test_tables_and_files_name_it(make_run: MakeRun, tmp_path: Path) -> None:
    raw, cleaned = (load_run(make_run(name, tasks=TASKS, qrels=name)) for name in ("raw", "cleaned"))
    assert RAW in format_run(raw) and RAW not in format_run(cleaned)
    assert {row["qrels"] for row in csv.DictReader(io.StringIO(format_csv(raw))) if row["type"]} == {"raw"}
    assert "raw qrels" in format_latex(raw, "nDCG@10") and "raw qrels" not in format_latex(cleaned, "nDCG@10")
    page = build([raw.folder, cleaned.folder], tmp_path / "site").read_text()
    assert page.count('<section class="comparison"') == 2
    assert page.count("raw judgements: documents that the corpus lacks count as missed") == 1


def test_no_average_mixes_the_two(make_run: MakeRun) -> None:
    folder = make_run("mixed", suite=None, tasks=TASKS[:1], qrels="raw")
    make_run("mixed", suite=None, tasks=TASKS, cover=TASKS[1:])
    run = load_run(folder)
    assert set(run.tasks) == set(TASKS)
    assert average_over_tasks(run, TASKS, "nDCG@10").mean is None
    assert "depth, queries or qrels differ" in format_run(run)


def test_a_result_must_be_of_the_definition_that_it_names(make_run: MakeRun) -> None:
    result = load_run(make_run("raw", tasks=TASKS, qrels="raw", candidates="ab" * 32)).tasks[TASKS[0]].result
    with pytest.raises(ResultError, match="not on the task's frozen list"):  # the definition is accepted
        check_registry(result, "here")
    renamed = result.model_copy(update={"data": result.data.model_copy(update={"qrels": "cleaned"})})
    with pytest.raises(ResultError, match="task_hash"):
        check_registry(renamed, "here")


def test_one_list_serves_cleaned_and_raw_judgements() -> None:
    (raw,) = select_tasks(None, ["oven-it2t"], [], None, "raw").tasks
    cleaned = load_task("oven-it2t")
    assert raw.hash != cleaned.hash
    check_task(make_provenance(cleaned, "x", 1, "x"), raw, "here")
    check_task(make_provenance(raw, "x", 1, "x"), cleaned, "here")
