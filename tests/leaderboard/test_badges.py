"""Badges: the numbers of the table, in shields.io's schema, and an SVG that says the same."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mrb.data.task import load_suite
from mrb.leaderboard.badges import make_badge
from mrb.leaderboard.pages import badges
from mrb.leaderboard.site import Site, make_site
from mrb.leaderboard.tables.runs import read_entries
from tests.builders.run_folders import write_run_folder

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("runs")
    suite = load_suite("mini")
    runs = [write_run_folder(folder / name, skill, queries=12) for name, skill in (("good", 0.9), ("bad", 0.1))]
    runs.append(write_run_folder(folder / "texts", 0.5, cover=load_suite("mini-text-query").tasks, queries=12))
    runs.append(write_run_folder(folder / "one", 0.5, cover=suite.tasks[:1], queries=12))
    return make_site(read_entries(runs))


def test_a_badge_has_score_and_rank_of_the_table_or_of_the_sub_suite_or_counts_tasks(site: Site) -> None:
    (board,) = site.boards.values()
    found = {run.name: make_badge(site, run) for run in site.runs}
    row = board.table.get_view("nDCG@10").row("good")
    assert found["good"].message == f"nDCG@10 {100 * row.cells['types'].mean:.2f} · rank 1 of 2"
    assert (found["good"].label, found["good"].color) == ("MRB mini", "blue")
    assert found["texts"].label == "MRB mini-text-query" and " of 3" in found["texts"].message
    assert (found["one"].message, found["one"].color) == ("1 of 9 tasks", "lightgrey")


def test_the_files_follow_shields_schema_and_the_svg_says_the_same(site: Site) -> None:
    files = {page.path: page.data for page in badges.make_files(site)}
    assert {Path(path).stem for path in files} == {"good", "bad", "texts", "one"}
    for path, data in files.items():
        if path.endswith(".json"):
            badge = json.loads(data)
            assert badge.keys() == {"schemaVersion", "label", "message", "color"} and badge["schemaVersion"] == 1
            svg = ElementTree.fromstring(files[path.replace(".json", ".svg")])
            assert [text.text for text in svg.iter(f"{SVG}text")] == [badge["label"], badge["message"]]
            assert svg.attrib["aria-label"] == f"{badge['label']}: {badge['message']}"
            # Nothing in it runs or is loaded.
            assert {one.tag.removeprefix(SVG) for one in svg.iter()} == {"svg", "title", "path", "g", "text"}
