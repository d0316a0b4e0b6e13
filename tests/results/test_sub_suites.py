"""Averages of sub-suites: over complete sets only, the same in tables, exports, comparisons and stored averages."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mrb.data.task import load_suite
from mrb.errors import ResultError
from mrb.results.compare import compare
from mrb.results.export import format_csv
from mrb.results.run import Run, average_over_tasks, compute_suite_averages, load_run
from mrb.results.sub_suites import list_sub_runs, restrict_run, restrict_runs
from mrb.results.suite_averages import SuiteAverages
from mrb.results.table import list_rows
from mrb.results.trackers import list_numbers
from tests.builders.run_folders import write_run_folder

NAME = "mini-text-query"
TEXT_QUERIES = ("mini-faq-t2t", "mini-flag-t2i", "mini-page-t2vd", "mini-flag-t2it")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def texts(folder: Path) -> Run:
    """A run of mini by a reranker that takes text queries only."""
    return load_run(write_run_folder(folder / "texts", 0.4, cover=TEXT_QUERIES))


@pytest.fixture(scope="module")
def whole(folder: Path) -> Run:
    return load_run(write_run_folder(folder / "whole", 0.7))


def mean(run: Run) -> float:
    return float(np.mean([run[task_id].result.measures["nDCG@10"].mean for task_id in TEXT_QUERIES]))


def test_a_complete_sub_suite_has_rows_beside_those_of_the_suite(texts: Run, whole: Run) -> None:
    for run in (texts, whole):
        _, averages = list_rows(run, "nDCG@10")
        assert [row.label for row in averages[2:]] == ["text-query: 4 tasks", "text-query: 4 types"]
        for row in averages[2:]:
            assert row.own is not None and row.own.mean == pytest.approx(mean(run), abs=1e-12)
            assert row.own.low < row.own.mean < row.own.high
    assert list_rows(texts, "nDCG@10")[1][0].state == "no average of suite mini: 5 of 9 tasks missing"
    assert list_rows(whole, "nDCG@10")[1][0].own is not None


def test_an_incomplete_sub_suite_has_no_average(folder: Path) -> None:
    run = load_run(write_run_folder(folder / "part", 0.4, cover=TEXT_QUERIES[:3]))
    assert list_sub_runs(run) == [] and len(list_rows(run, "nDCG@10")[1]) == 2
    assert compute_suite_averages(run, load_suite("mini")).sub_suites == {}
    (own,) = list_rows(restrict_run(run, load_suite(NAME)), "nDCG@10")[1][:1]
    assert own.state == f"no average of suite {NAME}: 1 of 4 tasks missing"


def test_a_run_of_the_sub_suite_has_the_same_averages(folder: Path, texts: Run) -> None:
    alone = load_run(write_run_folder(folder / "alone", 0.4, suite=NAME))
    own = compute_suite_averages(alone, load_suite(NAME))
    found = compute_suite_averages(texts, load_suite("mini")).sub_suites[NAME]
    assert (own.tasks, own.types) == (found.tasks, found.types)
    assert compute_suite_averages(restrict_run(texts, load_suite(NAME)), load_suite(NAME)) == own


def test_stored_averages_without_sub_suites_keep_their_bytes() -> None:
    plain = {"tasks": None, "types": None, "of_types": {}}
    assert SuiteAverages.model_validate(plain).model_dump(mode="json") == plain


def test_exports_name_the_sub_suite(texts: Run) -> None:
    rows = {row["task"]: row for row in csv.DictReader(format_csv(texts).splitlines()) if row["measure"] == "nDCG@10"}
    row = rows[f"average over types of {NAME}"]
    assert (float(row["mean"]), row["tasks"], row["of"]) == (pytest.approx(mean(texts), abs=1e-12), "4", "4")
    assert rows["average over types"]["mean"] == ""
    assert list_numbers(texts)[f"average over tasks of {NAME}/nDCG@10"] == pytest.approx(mean(texts), abs=1e-12)


def test_a_comparison_on_a_sub_suite_is_that_on_its_tasks(texts: Run, whole: Run) -> None:
    found = compare(restrict_runs([texts, whole], NAME))
    assert found.of == 4 and not found.missing
    named = compare([texts, whole], task_ids=TEXT_QUERIES)
    assert (found.tasks, found.over_tasks, found.over_types) == (named.tasks, named.over_tasks, named.over_types)


def test_a_run_without_a_task_of_the_suite_is_refused(folder: Path) -> None:
    run = load_run(write_run_folder(folder / "images", 0.4, cover=["mini-emoji-i2i"]))
    with pytest.raises(ResultError, match=f"images: has no result of suite {NAME}"):
        restrict_run(run, load_suite(NAME))


def test_a_part_of_a_type_does_not_get_the_stored_interval_of_the_type(texts: Run) -> None:
    mini = load_suite("mini")
    kind = texts["mini-faq-t2t"].task.type
    stored = compute_suite_averages(texts, mini)
    tasks = texts.tasks | {"mini-faq-t2t-dev": replace(texts["mini-faq-t2t"])}
    record = texts.record.model_copy(update={"suite": None, "tasks": (*texts.record.tasks, "mini-faq-t2t-dev")})
    wider = replace(texts, record=record, tasks=tasks, stored=stored)
    assert average_over_tasks(wider, ["mini-faq-t2t", "mini-faq-t2t-dev"], "nDCG@10").interval is not None
    assert average_over_tasks(wider, ["mini-faq-t2t"], "nDCG@10").interval is None
    part = restrict_run(wider, load_suite(NAME)).stored
    assert part is not None and part.of_types.keys() == stored.of_types.keys() - {kind}


def test_no_run_gets_the_name_of_a_suite_that_takes_other_queries_or_of_another_version(folder: Path) -> None:
    tasks = ["scifact", "nfcorpus"]
    of_all, of_sample = (
        load_run(write_run_folder(folder / suite, 0.4, suite=suite, cover=tasks, queries=12, selection=selection))
        for suite, selection in (("mrb", "all"), ("mrb-lite", "sample"))
    )
    single = load_run(write_run_folder(folder / "single", 0.4, suite=None, tasks=tasks, queries=12))
    old = load_run(write_run_folder(folder / "old", 0.4, cover=TEXT_QUERIES, record={"suite_version": "0.1"}))
    for run, suite in ((of_all, "mrb-lite"), (of_all, "mrb-lite-text-query"), (of_sample, "mrb-text-query")):
        with pytest.raises(ResultError, match=f"its suite {run.record.suite} and suite {suite} take other queries"):
            restrict_run(run, load_suite(suite))
    with pytest.raises(ResultError, match=r"selection: all\) than suite mrb-lite takes"):
        restrict_run(single, load_suite("mrb-lite"))
    with pytest.raises(ResultError, match=f"old: ran suite mini 0.1, and suite {NAME} of this version of MRB is"):
        restrict_run(old, load_suite(NAME))
    for run, suite in ((of_all, "mrb"), (of_sample, "mrb-lite-text-query"), (single, "mrb-text-query")):
        assert restrict_run(run, load_suite(suite)).record.suite == suite
