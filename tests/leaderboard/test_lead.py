"""The sentence that opens a table: who leads, how surely, from where; and which run stands in which row."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.data.task import load_suite
from mrb.leaderboard.build import build
from mrb.leaderboard.site import make_site
from mrb.leaderboard.tables.cells import BLANK, gain_class
from mrb.leaderboard.tables.runs import read_entries
from mrb.metrics.significance import Difference
from mrb.results.noise import NOISE_FILE
from tests.builders.pages import read_pages
from tests.builders.submissions import submitted

Make = Callable[..., Path]
MINI = load_suite("mini").tasks


def _lead(*folders: Path) -> str:
    (board,) = make_site(read_entries(folders)).boards.values()
    return board.lead


def test_the_sentence_says_who_leads_and_how_surely(make_run: Make) -> None:
    folders = [make_run(name, skill, queries=12) for name, skill in {"weak": 0.1, "strong": 0.9}.items()]
    (board,) = make_site(read_entries(folders)).boards.values()
    best, second = (row.cells["types"].mean for row in board.summaries["nDCG@10"].rows)
    first, oracle = (row.cells["types"].mean for row in board.summaries["nDCG@10"].fixed)
    assert board.standing.lead is not None and best and second and first and oracle
    assert board.lead == (
        f"strong leads with {100 * best:.2f} nDCG@10, {100 * (best - second):.2f} above weak, a significant difference "
        f"(corrected p {board.standing.lead.p_corrected:.4f}). The first stage bm25 has {100 * first:.2f}, the "
        f"best order of its 25 candidates {100 * oracle:.2f}."
    )
    assert board.standing.lead.difference == pytest.approx(best - second) and board.standing.lead.low > 0


@pytest.mark.parametrize(
    ("skills", "words"),
    [
        ({"one": 0.5}, "one reaches "),
        ({"one": 0.5, "two": 0.5}, "one and two lead together with "),
        ({"one": 0.5, "two": 0.51}, "not a significant difference (corrected p 0."),
        (dict.fromkeys("abcde", 0.5), "a, b, c and 2 more lead together with "),
    ],
)
def test_the_sentence_is_true_of_one_model_of_equals_and_of_close_ones(
    make_run: Make, skills: dict[str, float], words: str
) -> None:
    assert words in _lead(*[make_run(name, skill, queries=12) for name, skill in skills.items()])


def test_without_an_average_nobody_leads(make_run: Make) -> None:
    assert _lead(make_run("part", 0.5, cover=MINI[:2])).startswith(
        "No model leads yet: none has a result on every task"
    )
    single = make_run("single", 0.5, suite=None, tasks=["scifact"], depth=100)
    assert "no model leads" in _lead(single)
    (board,) = make_site(read_entries([single])).boards.values()
    assert board.table.comparison.title == "Tasks outside a suite"


def test_a_gain_has_a_colour_only_where_its_interval_excludes_zero() -> None:
    found = [gain_class(None if ends is None else Difference(0.1, *ends, 0.5, 0.5)) for ends in (None, (-0.1, 0.3))]
    assert found == ["same", "same"] and gain_class(Difference(0.1, 0.05, 0.15, 0.01, 0.01)) == "gain"
    assert gain_class(Difference(-0.1, -0.15, -0.05, 0.01, 0.01)) == "loss"


def test_the_best_of_a_column_is_marked_with_what_shows_the_same(make_run: Make) -> None:
    folders = [make_run(name, skill, queries=12) for name, skill in {"a": 0.5, "b": 0.5, "c": 0.1}.items()]
    (board,) = make_site(read_entries(folders)).boards.values()
    keys = [head.key for head in board.tabs[0].heads if head.key != "name"]
    kinds = {run.name: cells[keys.index("types")].kind for run, cells in board.iterate_rows(board.tabs[0], "nDCG@10")}
    assert kinds == {"a": "score best", "b": "score best", "c": "score"}
    (alone,) = make_site(read_entries([folders[0]])).boards.values()
    assert all("best" not in cell.kind for _, cells in alone.iterate_rows(alone.tabs[0], "nDCG@10") for cell in cells)


def test_a_rank_names_its_measure_and_stands_back_beside_another(make_run: Make) -> None:
    (board,) = make_site(read_entries([make_run("a", 0.5), make_run("b", 0.2)])).boards.values()
    assert board.tabs[0].heads[0].small == "by nDCG@10"
    for measure, kind in (("nDCG@10", "rank"), ("MRR@10", f"rank {BLANK}")):
        assert {cells[0].kind for _, cells in board.iterate_rows(board.tabs[0], measure)} == {kind}


def test_a_run_whose_submission_is_here_stands_in_its_row(trial: Path, pristine: Path, tmp_path: Path) -> None:
    site = make_site(read_entries([trial, pristine]))
    assert [run.name for run in site.runs] == [pristine.name] and site.dropped == {trial.name: pristine.name}
    (board,) = site.boards.values()
    assert board.facts[pristine.name]["source"].smalls == (("", f"of run {trial.name}"),)
    page = read_pages(build([trial, pristine], tmp_path / "site").parent)["index.html"]
    assert f"run {trial.name} , in the row of {pristine.name}" in " ".join(page.text.split())
    other = submitted(trial, tmp_path / "made", name="other")
    again = make_site(read_entries([other, pristine, trial]))
    assert len(again.runs) == 2 and again.dropped == {trial.name: min(other.name, pristine.name)}


def test_the_noise_of_a_run_stands_in_its_submissions_row(trial: Path, pristine: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trial, tmp_path / trial.name))
    task: dict[str, object] = {
        "candidates": "ab" * 32,
        "queries": 2,
        "pairs": 9,
        "spread": 1,
        "largest_difference": 0.1,
        "rank_changes": 1,
        "top_changes": 0,
    }
    task |= {"first": 0.5, "second": 0.53, "mean_change": 0.03, "largest_change": 0.06}
    own = json.loads((run / "run.json").read_text())["reranker"]
    noise: dict[str, object] = {
        "schema_version": 1,
        "mrb_version": "1",
        "reranker": own,
        "plans": ["a", "b"],
        "depth": 25,
    }
    noise |= {"tasks": {"mini-faq-t2t": task}, "floor": 0.03, "environment": {}}
    (run / NOISE_FILE).write_text(json.dumps(noise))
    site = build([run, pristine], tmp_path / "site").parent
    card = make_site(read_entries([run, pristine])).cards[pristine.name]
    assert (card.noise_floor, card.noise_note) == (0.03, "1 task, depth 25") and card.noise_path
    assert (site / card.noise_path).read_bytes() == (run / NOISE_FILE).read_bytes()
    (run / NOISE_FILE).write_text(json.dumps(noise | {"reranker": own | {"version": "2"}}))
    other = make_site(read_entries([run, pristine])).cards[pristine.name]
    assert other.noise_floor is None and "another reranker" in other.noise_note
