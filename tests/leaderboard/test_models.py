"""The page of a model: its card, its plot by type, best and worst tasks, and the record that its numbers come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mrb._util.hashing import hash_file
from mrb.data.task import load_suite
from mrb.leaderboard.build import build
from mrb.leaderboard.charts.types import LEFT, RIGHT, make_type_plot
from mrb.leaderboard.pages import models
from mrb.leaderboard.site import Site, make_site
from mrb.leaderboard.tables.model_facts import (
    find_extremes,
    list_neighbours,
    list_places,
    list_record_lines,
    list_task_lines,
)
from mrb.leaderboard.tables.pairs import list_compared_runs
from mrb.leaderboard.tables.runs import read_entries
from mrb.leaderboard.tables.training_marks import find_training_marks
from mrb.results.contamination import compare_twins
from mrb.results.run import load_run
from mrb.submission.reader import read_submission_folder
from mrb.submission.verify import TaskVerification, VerificationRecord
from tests.builders.pages import find_broken_links, read_pages
from tests.builders.run_folders import write_run_folder
from tests.builders.submissions import submitted

MINI = load_suite("mini").tasks


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("runs")
    good, partial = write_run_folder(folder / "good", 0.8), write_run_folder(folder / "partial", 0.9, cover=MINI[:1])
    return make_site(read_entries([good, partial]))


def _text(site: Site, name: str) -> str:
    (page,) = (page for page in models.make_files(site) if page.path == f"models/{name}.html")
    return " ".join(page.data.decode().split())


def test_the_plot_has_the_numbers_of_the_table_of_types(site: Site) -> None:
    (table,) = site.tables.values()
    view = table.get_type_view()
    plot = make_type_plot(view, "good")
    assert plot is not None and [mark.type for mark in plot.marks] == list(table.type_names)
    text = _text(site, "good")
    for mark in plot.marks:
        own, first = view.row("good").cells[mark.type], view.fixed[0].cells[mark.type]
        assert mark.own == own and own.mean is not None and first.mean is not None
        assert mark.x == pytest.approx(LEFT + own.mean * (RIGHT - LEFT), abs=0.1)
        assert mark.low is not None and mark.x is not None and mark.high is not None
        assert mark.low <= mark.x <= mark.high
        words = f"{mark.type}: first stage {100 * first.mean:.2f}, this model {100 * own.mean:.2f}, from "
        assert words in text
        assert f'<td class="number">{100 * own.mean:.2f}</td>' in text


def test_a_type_without_a_number_is_said_to_have_none(site: Site) -> None:
    (table,) = site.tables.values()
    plot = make_type_plot(table.get_type_view(), "partial")
    assert plot is not None
    assert [mark.type for mark in plot.marks if mark.x is not None] == ["t2t"]
    text = _text(site, "partial")
    assert text.count("this model has no number") == 8
    assert "Largest and smallest gains" not in text, "one task has no best and worst"


def test_best_and_worst_tasks_are_those_of_the_largest_and_smallest_gain(site: Site) -> None:
    (table,) = site.tables.values()
    lines = list_task_lines(table, site.runs[0], find_training_marks(site.runs[0], None))
    best, worst = find_extremes(lines)
    gains = sorted(line.own.gain or 0.0 for line in lines)
    assert [line.own.gain for line in best] == gains[::-1][:3]
    assert [line.own.gain for line in worst] == gains[:3]
    two_best, two_worst = find_extremes(lines[:3])
    assert len(two_best) == len(two_worst) == 1 and two_best != two_worst
    assert find_extremes(lines[:1]) == ([], [])


def test_the_card_of_a_run_says_what_nobody_stated(site: Site) -> None:
    text = _text(site, "good")
    assert "this is a run, not a submission: size, weights, licence and architecture are not stated" in text
    assert "unknown: nothing was declared" in text and "a run of whoever built this board" in text
    assert text.count('data-value="unknown"') == len(MINI)


def test_the_card_of_a_submission(trial: Path, tmp_path: Path) -> None:
    stated = {"organisation": "lab", "name": "model", "parameters": 3_750_000_000, "active_parameters": 10**9}
    more = {"licence": "Apache-2.0", "open_weights": True, "kind": "cross-encoder", "links": ("https://example.org/m",)}
    folder = submitted(trial, tmp_path, **stated, **more)
    received = read_submission_folder(folder)
    page = read_pages(build([folder], tmp_path / "site").parent)["models/lab__model.html"]
    for words in (
        "model by lab",
        "3.75 B parameters, 1 B active",
        "open; licence Apache-2.0",
        "Architecture cross-encoder Scoring and inputs pointwise",
    ):
        assert words in page.text
    assert "unknown 9 of 9 tasks" in page.text and "nobody has re-run the model" in page.text
    assert hash_file(received.folder / "submission.json") in page.text
    assert hash_file(received.ranking_path("mini-faq-t2t")) in page.text
    links = [attributes for tag, attributes in page.tags if tag == "a" and ":" in (attributes["href"] or "")]
    assert links == [{"href": "https://example.org/m", "rel": "noopener nofollow"}]
    site = make_site(read_entries([folder]))
    (line,) = list_record_lines(site.runs[0], received.submission)
    assert line.task == "mini-faq-t2t" and line.href == "data/lab__model/submission.json"
    assert line.seconds and line.pairs_per_second == pytest.approx(line.result.counts.pairs / line.seconds)

    marks = dict.fromkeys(MINI, "clean") | {MINI[0]: "trained-on", MINI[1]: "related"}
    declared = received.submission.model_copy(update={"training": marks})
    counted = find_training_marks(site.runs[0], declared).count(MINI)
    assert counted == [("trained-on", 1), ("related", 1), ("clean", 7)]
    task = {"queries": 3, "pairs": 60, "largest_difference": 0.00125, "allowed_difference": 0.1}
    record = VerificationRecord(
        schema_version=1,
        mrb_version="0.1.0",
        submission=received.name,
        content=received.submission.content_hash,
        date="2026-11-27",
        salt="x",
        queries=3,
        reranker=received.submission.reranker,
        noise=None,
        tasks={"mini-faq-t2t": TaskVerification(**task, mean_change=0.0, allowed_change=0.01)},
        not_verified={},
        environment={},
    )
    text = _text(replace(site, verified={"lab__model": record}), "lab__model")
    assert "verified by a re-run on 2026-11-27" in text
    assert "the largest difference is 0.0013 standard deviations" in text


def test_a_page_has_the_contamination_check_of_a_set_and_its_twin(tmp_path: Path) -> None:
    folder = write_run_folder(tmp_path / "a", 0.5, suite=None, tasks=["scifact", "scifact-decontaminated"], queries=12)
    pages = read_pages(build([folder], tmp_path / "site").parent)
    (check,) = compare_twins([load_run(folder)])[0]
    assert "Contamination check" in pages["models/a.html"].text
    assert f"{100 * check.gain_difference:+.2f}" in pages["models/a.html"].text


def test_a_page_has_its_ranks_and_leads_to_the_pairs_nearest_to_it(tmp_path: Path) -> None:
    text = load_suite("mini-text-query").tasks
    runs = [write_run_folder(tmp_path / f"run-{n}", n / 10, queries=12) for n in range(6)]
    runs.append(write_run_folder(tmp_path / "texts", 0.5, cover=text, queries=12))
    site = make_site(read_entries(runs))
    ((table_id, table),) = site.tables.items()
    board = site.boards[table_id]
    run = next(run for run in table.runs if run.name == "texts")
    whole, part = list_places(board, run)
    assert whole.rank.bounds is None and whole.rank.note and part.rank.bounds and part.of == 7
    order = [run.name for run in table.runs]
    found = list_neighbours(list_compared_runs(table), table.runs[1])
    assert [name for name, _, _ in found] == [order[0], *order[2:5]]
    assert all(order.index(base) > order.index(other) for _, base, other in found)
    (page,) = (page for page in models.make_files(site) if page.path == f"models/{order[1]}.html")
    assert f"../compare/{order[1]}/{order[0]}.html" in page.data.decode()
    assert list_neighbours([], table.runs[1]) == []


def test_a_page_names_no_comparison_that_has_no_page(tmp_path: Path) -> None:
    tasks = ["mini-flag-t2i", "mini-faq-t2t"]
    runs = [
        write_run_folder(tmp_path / name, skill, suite=None, tasks=tasks, queries=12, tracks=("standard", "bm25"))
        for name, skill in (("a", 0.9), ("b", 0.1))
    ]
    root = build(runs, tmp_path / "site").parent
    assert not list(root.glob("compare/*/*.html")) and not find_broken_links(root, read_pages(root))
