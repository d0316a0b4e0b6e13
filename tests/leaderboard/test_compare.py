"""Comparisons on the board: the numbers of `mrb compare`, which pairs there are, what is said where there are none."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from synthetic import write_packs, write_submissions

from mrb.leaderboard.build import build
from mrb.leaderboard.pages.compare import make_files, make_pair_view
from mrb.leaderboard.site import make_site
from mrb.leaderboard.tables import pairs as pairing
from mrb.leaderboard.tables.board import Board
from mrb.leaderboard.tables.cells import MINUS
from mrb.leaderboard.tables.pairs import compare_pairs, dots, list_compared_runs
from mrb.leaderboard.tables.runs import read_entries
from mrb.metrics.significance import RankBounds
from mrb.results.compare import compare, name_gain
from mrb.results.comparison_table import format_comparison
from mrb.results.run import Run
from tests.builders.pages import read_pages
from tests.builders.submissions import submitted, trial_run

Build = Callable[..., Path]
TASKS = ["mini-faq-t2t", "mini-flag-t2i"]


def _runs(*folders: Path) -> list[Run]:
    (table,) = make_site(read_entries(folders)).tables.values()
    return list_compared_runs(table)


BOARDS = (
    {"one": 0.5, "other": 0.9},
    {"same": 0.5, "equal": 0.5, "worse": 0.2},
    {"a": 0.6, "b": 0.62, "c": 0.64},
    {"first": 0.9, "last": 0.0, "middle": 0.45, "next": 0.47},
)


@pytest.mark.parametrize("skills", BOARDS)
def test_rank_column_pair_page_and_mrb_compare_print_the_same(make_run: Build, skills: dict[str, float]) -> None:
    folders = [make_run(name, skill, suite="mini", queries=12) for name, skill in skills.items()]
    boards = list(make_site(read_entries(folders)).iterate_boards())
    assert len(boards) == 2, "the suite and its sub-suite"
    for board in boards:
        _check_what_is_printed(board)
    positions = [cells[0].text for _, cells in boards[0].iterate_rows(boards[0].tabs[0], "nDCG@10")]
    assert positions == (["1", "1", "3"] if "same" in skills else ["1", "2", "3", "4"][: len(skills)])


@pytest.mark.slow
def test_a_board_of_submissions_and_judgement_packs_prints_what_mrb_compare_does(tmp_path: Path) -> None:
    write_submissions(tmp_path / "results", 2, queries=8, rankings=True)
    packs = tmp_path / "packs"
    write_packs(packs, queries=8)
    (board,) = make_site(read_entries([tmp_path / "results"], packs), packs=packs).boards.values()
    assert board.standing.ranked == 2
    _check_what_is_printed(board)


def _check_what_is_printed(board: Board) -> None:
    """Compare ranks, and the averages of every pair, with what the command prints of each run and the others."""
    runs, task_ids = list_compared_runs(board.table), board.table.comparison.task_ids
    shown = {run.name: cells[0] for run, cells in board.iterate_rows(board.tabs[0], "nDCG@10")}
    printed: dict[tuple[str, str], list[str]] = {}
    for base in runs[1:]:  # what stands higher is shown over it
        found = compare([base, *(other for other in runs if other is not base)], task_ids=task_ids)
        lines = [" ".join(line.split()) for line in format_comparison(found)]
        for other in runs:
            title = f"{other.name} over {base.name}"
            printed[base.name, other.name] = lines[lines.index(title) :] if title in lines else []
        ranks = next(line for line in lines if line.startswith("ranks by the average over types")).split(": ", 1)[1]
        for bounds, name in (one.split() for one in ranks.split("; ")):
            assert shown[name].smalls[0][1] == bounds
    if board.whole:
        return  # pairs are compared on the whole suite
    for pair in compare_pairs(runs):
        for row in make_pair_view(pair, {}, {run.name: run.name for run in runs}).averages:
            base_mean, other_mean, gain, interval, p, corrected = (cell.replace(MINUS, "-") for cell in row.cells[:6])
            line = next(one for one in printed[pair.base, pair.other] if one.startswith(row.head))
            assert line.endswith(f" {p} {corrected}") and f"{base_mean} {other_mean} " in line
            ends = line.split("[")[1].split("]")[0].split(",")
            assert [float(end) for end in ends] == [float(end) for end in interval.split(" to ")]
            assert (row.sign == "same") == (float(p) >= 0.05) and float(gain) >= 0


@pytest.mark.slow
def test_pairs_ranks_and_mrb_compare_say_the_same(make_run: Build) -> None:
    skills = {"a": 0.8, "b": 0.6, "c": 0.601, "d": 0.44, "e": 0.1}
    folders = [make_run(name, skill, suite="mini") for name, skill in skills.items()]
    (board,) = make_site(read_entries(folders)).boards.values()
    runs = list_compared_runs(board.table)
    pairs = {(pair.base, pair.other): pair for pair in compare_pairs(runs)}
    assert len(pairs) == 10
    names = [run.name for run in runs]
    for base in runs:
        found = compare([base, *(run for run in runs if run is not base)])
        shown = {name: board.standing.ranks[name].bounds for name in found.runs}
        assert dict(zip(found.runs, found.over_types.ranks, strict=True)) == shown
        assert {shown["a"], shown["e"]} == {RankBounds(1, 1), RankBounds(5, 5)} and shown["b"] == shown["c"]
        for column, other in enumerate(found.runs[1:]):
            if names.index(other) > names.index(base.name):
                continue  # the one that stands higher is shown over the other
            pair = pairs[base.name, other]
            for line, average in zip(pair.averages, (found.over_tasks, found.over_types), strict=True):
                assert (line.base, line.other) == (average.means[0], average.means[column + 1])
                assert name_gain(other, line.gain) == average.differences[column]
            for line, task in zip(pair.tasks, found.tasks, strict=True):
                one = task.differences[column]
                assert (line.key, line.base, line.other) == (task.task, task.means[0], task.means[column + 1])
                assert name_gain(other, line.gain) == one.mean and line.counts == (one.won, one.tied, one.lost)
            assert [query.difference for query in pair.wins] == sorted((q.difference for q in pair.wins), reverse=True)
            assert all(query.difference < 0 for query in pair.losses)


def test_a_pair_is_compared_on_the_tasks_that_both_have(make_run: Build) -> None:
    folders = [make_run(name, skill, tasks=TASKS) for name, skill in {"a": 0.8, "b": 0.5}.items()]
    folders.append(make_run("part", 0.3, tasks=TASKS, cover=TASKS[:1]))
    a, b, part = runs = _runs(*folders)
    found = {(pair.base, pair.other): pair for pair in compare_pairs(runs)}
    assert [len(pair.tasks) for pair in found.values()] == [2, 1, 1]
    all_three = compare([part, a, b], task_ids=TASKS[:1])
    assert name_gain("a", found["part", "a"].main.gain) == all_three.over_types.differences[0]
    assert name_gain("b", found["b", "a"].main.gain) != compare([b, a], task_ids=TASKS[:1]).over_types.differences[0]


@pytest.mark.slow
def test_of_many_runs_the_best_are_compared_and_the_page_says_so(
    make_run: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairing, "MAX_RUNS", 2)
    monkeypatch.setattr("mrb.leaderboard.pages.compare.MAX_RUNS", 2)
    folders = [make_run(name, skill) for name, skill in {"a": 0.1, "b": 0.9, "c": 0.5}.items()]
    pages = read_pages(build(folders, tmp_path / "site").parent)
    assert [path for path in pages if path.startswith("compare/")] == ["compare/c/b.html"]
    assert "Shown are the first 2 of 3 models" in pages["compare.html"].text


@pytest.mark.slow
def test_the_page_starts_with_the_best_two_that_differ(make_run: Build) -> None:
    folders = [make_run(name, skill, tasks=["mini-flag-t2i"]) for name, skill in (("a", 0.8), ("b", 0.3))]
    again = folders[0].with_name("again")
    shutil.copytree(folders[0], again)
    site = make_site(read_entries([*folders, again]))
    pages = {page.path: page.data.decode() for page in make_files(site)}
    assert re.findall(r'value="([^"]*)" selected', pages["compare.html"]) == ["a", "b"], "not a and its copy"
    (listed,) = json.loads(pages["data/compared.js"].removeprefix("DATA.put(...").removesuffix(");\n"))[1]
    assert listed == {"names": ["a", "again", "b"], "missing": []} and "compare/b/again.html" in pages


def test_the_matrix_says_how_often_a_run_wins(make_run: Build, tmp_path: Path) -> None:
    folders = [make_run(name, skill, tasks=TASKS) for name, skill in {"a": 0.9, "b": 0.2}.items()]
    (pair,) = compare_pairs(_runs(*folders))
    counts = np.array([line.counts for line in pair.tasks]).sum(axis=0)
    text = read_pages(build(folders, tmp_path / "site").parent)["compare.html"].text
    assert f"wins {(counts[0] + counts[1] / 2) / counts.sum():.2f}" in text and counts[0] > counts[2]


def test_where_nothing_compares_the_page_says_why(make_run: Build, tmp_path: Path, submission: Path) -> None:
    folders = [make_run("a", 0.5, tasks=TASKS[:1]), make_run("b", 0.5, tasks=TASKS[:1], depth=10)]
    pages = read_pages(build(folders, tmp_path / "site").parent)
    assert "nothing to compare" in pages["compare.html"].text
    assert not [path for path in pages if path.startswith("compare/")]


@pytest.mark.slow
def test_submissions_of_embedded_tasks_are_compared_by_their_rankings(tmp_path: Path) -> None:
    runs = [trial_run(tmp_path / "runs", model=model, tasks=TASKS[:1]) for model in ("random", "constant")]
    made = [submitted(run, tmp_path / "made", name=run.name) for run in runs]
    shown = []
    for number, folders in enumerate((runs, made)):
        root = build(folders, tmp_path / f"site-{number}").parent
        (path,) = root.glob("data/compare/*/*.js")
        value = json.loads(path.read_text().removeprefix("DATA.put(...").removesuffix(");\n"))[1]
        shown.append(value.replace("mrb__", "").replace(" (mrb)", ""))
    assert shown[0] == shown[1]
    pages = read_pages(root)
    kinds = ("compare.html", "models.html", "models/", "queries/", "tasks/", "embed/", "compare/")
    for path in (path for path in pages if path.startswith(kinds)):
        named = pages[path].text.replace("data/mrb__", "").replace("models/mrb__", "").replace("{mrb-mrb__", "")
        assert "mrb__" not in named and ("random (mrb)" in named or "tasks/" in path or "models" in path), path


def test_dots_stand_for_every_query_once() -> None:
    right, up = np.array([0.0, 0.0, 1.0] + [0.5] * 12), np.array([1.0, 1.0, 0.25] + [0.5] * 12)
    assert dots(right, up) == ("M100 75h0", "M0 0h0", "M50 50h0")
    assert not re.search(r"[^M0-9 h]", "".join(dots(right, up)))


def test_a_pair_does_not_lead_to_queries_of_another_table(tmp_path: Path) -> None:
    folders = []
    for limit in (12, 8):
        for model in ("random", "constant"):
            folders.append(tmp_path / f"{model}-{limit}")
            shutil.move(trial_run(tmp_path / "runs", model=model, limit=limit), folders[-1])
    root = build(folders, tmp_path / "site").parent
    pages = [(path.stem, path.read_text()) for path in sorted(root.glob("compare/*/*.html"))]
    leading = {name.rpartition("-")[2] for name, text in pages if "../../queries/mini-faq-t2t/" in text}
    assert len(pages) == 2 and len(leading) == 1, "of two tables one has its queries here"
