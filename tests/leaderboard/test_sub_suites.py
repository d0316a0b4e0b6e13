"""A sub-suite's table: runs of the whole suite and of the sub-suite stand in it, with averages and ranks of its own."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from mrb.leaderboard.build import make_pages
from mrb.leaderboard.pages import models, overview, tables
from mrb.leaderboard.pages.exports import format_csv
from mrb.leaderboard.site import Site, make_site
from mrb.leaderboard.tables.model_facts import list_averages
from mrb.leaderboard.tables.rows import AVERAGE_TYPES
from mrb.leaderboard.tables.runs import read_entries
from mrb.results.run import load_run
from tests.builders.run_folders import write_run_folder
from tests.builders.submissions import submitted, trial_run

NAME, WHOLE = "mini-text-query-25", "mini-25"
TEXT_QUERIES = ("mini-faq-t2t", "mini-flag-t2i", "mini-page-t2vd", "mini-flag-t2it")
BY_SIDE = {"query": ["text"], "document": ["text", "image", "image+text"]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A run of mini, one of mini by a reranker of text queries, one of the sub-suite, and one of a part of it."""
    at = tmp_path_factory.mktemp("runs")
    return {
        "whole": write_run_folder(at / "whole", 0.2),
        "texts": write_run_folder(at / "texts", 0.9, cover=TEXT_QUERIES, reranker={"inputs": BY_SIDE}),
        "alone": write_run_folder(at / "alone", 0.6, suite="mini-text-query"),
        "part": write_run_folder(at / "part", 0.6, cover=TEXT_QUERIES[:2]),
    }


@pytest.fixture(scope="module")
def site(folders: Mapping[str, Path]) -> Site:
    return make_site(read_entries(list(folders.values())))


def test_runs_of_text_queries_have_an_average_and_a_rank_in_the_sub_suites_table(
    site: Site, folders: Mapping[str, Path]
) -> None:
    (board,) = site.boards.values()
    (part,) = board.parts
    assert (board.id, part.id, part.whole) == (WHOLE, NAME, WHOLE)
    assert [run.name for run in part.table.runs] == ["texts", "alone", "whole", "part"]
    view = part.table.get_view("nDCG@10")
    assert [column.key for column in view.columns] == list(TEXT_QUERIES)
    for name in ("texts", "alone", "whole"):
        run = load_run(folders[name])
        cell = view.row(name).cells[AVERAGE_TYPES]
        wanted = np.mean([run[task_id].result.measures["nDCG@10"].mean for task_id in TEXT_QUERIES])
        assert cell.mean == pytest.approx(wanted, abs=1e-12) and cell.low is not None and cell.low < wanted
    assert view.row("part").cells[AVERAGE_TYPES].note == "only 2 of 4 types"
    assert part.standing.ranked == 3 and board.standing.ranked == 1
    assert part.standing.ranks["texts"].shown.text == "1"
    assert board.table.get_view("nDCG@10").row("texts").cells[AVERAGE_TYPES].mean is None
    assert board.sources["texts"].card.inputs == "queries: text; documents: text, image, image+text"


def test_no_average_of_a_family_of_which_the_sub_suite_holds_a_part(site: Site) -> None:
    (board,) = site.boards.values()
    keys = [column.key for column in board.parts[0].table.compute_summary("nDCG@10").columns]
    assert keys == ["t2t", "t2i", "t2vd", "t2it"]


def test_the_address_of_the_table_depends_on_no_other_run(folders: Mapping[str, Path]) -> None:
    """Without a run of the whole suite it is a table of the overview, under the same id."""
    site = make_site(read_entries([folders["alone"]]))
    (board,) = site.boards.values()
    assert (board.id, board.parts, board.whole) == (NAME, (), "")
    assert board.table.comparison.title == "MRB mini, text queries 1.0"


@pytest.mark.slow
def test_its_pages_are_linked_and_its_numbers_exported(site: Site) -> None:
    pages = {page.path: page.data.decode() for page in make_pages(site, [overview, tables, models])}
    path = f"tables/{NAME}/overview.html"
    assert f'<a href="{path}">text queries</a>' in pages["index.html"]
    assert f'<a href="../../tables/{WHOLE}/overview.html">the whole suite</a>' in pages[path]
    assert "average over types of mini-text-query" in pages["models/texts.html"]
    (board,) = site.boards.values()
    rows = {
        row["model"]: row for row in csv.DictReader(io.StringIO(format_csv(board.parts[0], board.parts[0].tabs[0])))
    }
    assert rows["texts"]["rank"] == "1" and float(rows["texts"]["types"]) > float(rows["whole"]["types"])


def test_a_models_page_has_the_averages_that_the_run_has(site: Site, folders: Mapping[str, Path]) -> None:
    table, parts = site.tables[WHOLE], site.sub_tables[WHOLE].values()
    found = {name: list_averages(table, load_run(folders[name]), parts) for name in ("texts", "part")}
    assert [name for name, *_ in found["texts"]][2:] == ["types of mini-text-query", "tasks of mini-text-query"]
    assert len(found["part"]) == 2


@pytest.mark.slow
def test_a_submission_has_the_stored_interval(tmp_path: Path) -> None:
    run = trial_run(tmp_path / "runs", limit=5, tasks=TEXT_QUERIES)
    folder = submitted(run, tmp_path / "to")
    for stored in (True, False):
        if not stored:  # as written before sub-suites were declared
            path = folder / "submission.json"
            value = json.loads(path.read_text())
            assert list(value["averages"].pop("sub_suites")) == ["mini-text-query"]
            path.write_text(json.dumps(value))
        (board,) = make_site(read_entries([folder])).boards.values()
        view = board.parts[0].table.get_view("nDCG@10")
        cell = view.row(board.table.runs[0].name).cells[AVERAGE_TYPES]
        assert cell.mean is not None and (cell.low is not None) == stored
