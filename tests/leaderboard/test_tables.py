"""What the board's tables add: ids, ranks, gains, facts, exports, snapshots, plots, records of re-runs, the server."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest

from mrb.data.task import load_suite
from mrb.errors import ResultError
from mrb.leaderboard.build import build
from mrb.leaderboard.pages.exports import format_csv, format_json, format_latex, format_long_csv
from mrb.leaderboard.serve import POLICY, make_server
from mrb.leaderboard.site import Site, make_site
from mrb.leaderboard.tables.fact_columns import format_parameters
from mrb.leaderboard.tables.gain_tests import compute_gains
from mrb.leaderboard.tables.pairs import list_compared_runs
from mrb.leaderboard.tables.rows import COMMON
from mrb.leaderboard.tables.runs import read_entries, read_runs
from mrb.leaderboard.tables.table_grouping import group_runs, make_table_ids
from mrb.leaderboard.verification import match_records, read_verified
from mrb.submission.reader import read_submission_folder
from tests.builders.submissions import submitted, trial_run

Make = Callable[..., Path]
MINI = load_suite("mini").tasks


def _site(*folders: Path) -> Site:
    return make_site(read_entries(folders))


def test_a_table_keeps_its_id_whatever_else_is_on_the_board(make_run: Make) -> None:
    usual, deep = make_run("usual", 0.5), make_run("deep", 0.5, depth=10)
    single = make_run("single", 0.5, suite=None, tasks=["scifact"], depth=100)
    assert list(_site(usual).tables) == ["mini-25"]
    assert sorted(_site(usual, deep, single).tables) == ["mini-10", "mini-25", "single-100"]
    limited, raw = make_run("limited", 0.5, selection="limit"), make_run("raw", 0.5, qrels="raw")
    assert sorted(_site(usual, limited, raw).tables) == ["mini-25", "mini-25-limit", "mini-25-raw"]
    others = [make_run("other", 0.5, candidates="cd" * 32), make_run("another", 0.5, candidates="ef" * 32)]
    ids = make_table_ids(group_runs(read_runs([usual, *others])))
    assert len(set(ids)) == 3 and sum(name == "mini-25" for name in ids) == 1
    assert sorted(ids) == sorted(make_table_ids(group_runs(read_runs([*others[::-1], usual]))))


def test_the_table_of_the_largest_suite_is_first(make_run: Make) -> None:
    many = [make_run(f"mini-{n}", 0.5) for n in range(2)]
    one = make_run("large", 0.5, suite="mrb", cover=["scifact"])
    assert list(_site(*many, one).tables) == ["mrb-25", "mini-25"]


def test_no_table_has_an_average_or_a_rank_over_several_candidate_sets(make_run: Make) -> None:
    whole = [make_run(f"whole-{skill}", skill) for skill in (0.3, 0.6)]
    mixed = [make_run(f"mixed-{skill}", skill, tracks=("standard", "other")) for skill in (0.3, 0.6)]
    parts = [make_run("early", 0.5, cover=MINI[:2]), make_run("late", 0.5, cover=MINI[2:], tracks=["other"])]
    boards = _site(*whole, *mixed, *parts).boards
    assert [run.name for run in boards["mini-25"].table.runs] == ["whole-0.6", "whole-0.3", "early"]
    assert ["late"] in [[run.name for run in board.table.runs] for board in boards.values()]
    board = next(board for board in boards.values() if "mixed-0.3" in {run.name for run in board.table.runs})
    for name in ("mixed-0.3", "mixed-0.6"):
        rank, row = board.standing.ranks[name], board.summaries["nDCG@10"].row(name)
        assert rank.bounds is None and rank.note == "lists of several candidate sets"
        assert all(row.cells[key].mean is None for key in (COMMON, "types", "tasks"))
        assert "candidate set" in row.cells["types"].note
    assert not list_compared_runs(board.table)


def test_ranks_are_shared_until_a_test_separates(make_run: Make) -> None:
    skills = {"best": 0.95, "good": 0.6, "alike": 0.601, "none": 0.0}
    runs = [make_run(name, skill) for name, skill in skills.items()]
    (board,) = _site(*runs, make_run("partial", 0.9, cover=["mini-faq-t2t"])).boards.values()
    ranks = board.standing.ranks
    shown = {name: (rank.shown.text, rank.shown.smalls[0][1]) for name, rank in ranks.items()}
    assert shown["best"] == ("1", "1") and shown["none"] == ("4", "4")
    assert {shown["good"], shown["alike"]} == {("2", "2–3"), ("3", "2–3")}
    assert ranks["partial"].position is None and shown["partial"] == ("–", "not all tasks")
    assert "the 4 of 5 models" in board.ranked
    assert board.standing.gains == {}, "the list of a toy is not the task’s own: no first stage to compare with"


@pytest.mark.slow
def test_real_runs_have_gains_with_intervals_and_submissions_have_their_values(tmp_path: Path) -> None:
    run = trial_run(tmp_path, tasks=MINI, limit=4)
    folder = submitted(run, tmp_path / "results", open_weights=True, licence="MIT", parameters=2 * 10**9)
    for _ in range(2):  # computed, then from the cache
        (alone,), (board,) = (_site(one).boards.values() for one in (run, folder))
        assert board.standing.ranks["mrb__random"].as_json() == [1, 1]
        assert alone.standing.gains["random"] == board.standing.gains["mrb__random"]
    gain = board.standing.gains["mrb__random"]
    cell = board.summaries["nDCG@10"].row("mrb__random").cells["types"]
    assert gain.low < gain.difference < gain.high and gain.difference == pytest.approx(cell.gain)
    gains, (first, _) = compute_gains(board.table)["mrb__random"], board.summaries["nDCG@10"].fixed
    shown = (
        board.table.get_view("nDCG@10").row("mrb__random").cells | board.summaries["nDCG@10"].row("mrb__random").cells
    )
    assert gains.keys() == {*MINI, *first.cells} - {"types", COMMON}, "every number that has an interval"
    assert {key: one.difference for key, one in gains.items()} == pytest.approx({key: shown[key].gain for key in gains})
    facts = board.facts["mrb__random"]
    assert [facts[key].text for key in ("parameters", "weights", "licence", "depth")] == ["2 B", "open", "MIT", "25"]
    assert facts["training"].text == "unknown 9/9" and facts["source"].text == "◆ submission"
    timings = json.loads((run / "run.json").read_text())["timings"]
    assert facts["date"].text == max(timing["day"] for timing in timings.values()) > "2026-11"


def test_a_record_of_a_re_run_marks_the_submission_of_that_content_alone(
    tmp_path: Path, pristine: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = read_submission_folder(pristine).submission
    record = {
        "schema_version": 1,
        "mrb_version": "0.1.0",
        "submission": made.model.folder,
        "content": made.content_hash,
        "date": "2026-11-27",
        "salt": "s",
        "queries": 20,
        "reranker": made.reranker.model_dump(mode="json"),
        "noise": None,
        "tasks": {
            "mini-faq-t2t": {
                "queries": 12,
                "pairs": 300,
                "largest_difference": 0.0,
                "allowed_difference": 0.01,
                "mean_change": 0.0,
                "allowed_change": 0.01,
            }
        },
        "not_verified": {},
        "environment": {},
    }
    path = tmp_path / f"{made.model.folder}.json"
    path.write_text(json.dumps(record))
    site = make_site(read_entries([pristine]), read_verified([tmp_path]))
    (board,) = site.boards.values()
    assert board.facts[made.model.folder]["source"].text == "✓ verified by re-run"
    path.write_text(json.dumps({**record, "content": "0" * 64}))
    assert match_records(read_verified([tmp_path]), {made.model.folder: made}) == {}
    path.rename(tmp_path / "other.json")
    with pytest.raises(ResultError, match="a record of"):
        read_verified([tmp_path])


def test_the_mean_over_common_tasks_is_over_those_that_all_have(make_run: Make) -> None:
    site = _site(make_run("whole", 0.5), make_run("part", 0.9, cover=MINI[:2]))
    (board,) = site.boards.values()
    assert set(board.table.common) == set(MINI[:2])
    row = board.summaries["nDCG@10"].row("part")
    tasks = board.table.get_view("nDCG@10").row("part").cells
    assert row.cells[COMMON].mean == pytest.approx(np.mean([tasks[i].mean for i in MINI[:2]]))
    assert row.cells[COMMON].low is None and row.cells["types"].mean is None


def test_exports_parse_and_hold_what_the_table_holds(make_run: Make) -> None:
    (board,) = _site(make_run("one_a", 0.5), make_run("two", 0.7, cover=MINI[:3])).boards.values()
    summary = board.tabs[0]
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(format_csv(board, summary)))}
    assert list(rows) == ["first-stage", "oracle", "one_a", "two"]
    cell = board.summaries["nDCG@10"].row("one_a").cells["types"]
    assert (float(rows["one_a"]["types"]), float(rows["one_a"]["types low"])) == (cell.mean, cell.low)
    assert rows["two"]["types"] == "" and [rows["one_a"][f"rank{end}"] for end in ("", " best", " worst")] == [
        "1",
        "1",
        "1",
    ]
    lines = list(csv.DictReader(io.StringIO(format_long_csv(board))))
    assert len(lines) == 4 * 11 * 8
    whole = json.loads(format_json(board))
    assert [["" if cell is None else str(cell) for cell in line] for line in whole["numbers"]] == [
        list(line.values()) for line in lines
    ]
    assert whole["rows"]["one_a"]["rank"] == [1, 1] and whole["rows"]["one_a"]["position"] == 1
    text = format_latex(board, summary)
    assert r"one\_a" in text and text.count(r"\\") == 5 and "NaN" not in text
    assert len({line.count("&") for line in text.splitlines() if line.endswith(r"\\")}) == 1


def test_a_snapshot_is_whole_listed_and_never_overwritten(make_run: Make, tmp_path: Path) -> None:
    run = make_run("one", 0.5, tasks=["mini-flag-t2i"])
    board = build([run], tmp_path / "site", snapshot_name="v1.0")
    page = tmp_path / "site" / "snapshots" / "v1.0" / "index.html"
    assert board == tmp_path / "site" / "index.html" and board.is_file()
    before = page.read_bytes()
    with pytest.raises(ResultError, match="none is ever overwritten"):
        build([make_run("two", 0.9, tasks=["mini-flag-t2i"])], tmp_path / "site", snapshot_name="v1.0")
    assert page.read_bytes() == before
    for bad in ("../x", "A", "", "con", ".x", "index.html"):
        with pytest.raises(ResultError, match="not a valid snapshot name"):
            build([run], tmp_path / "site", snapshot_name=bad)
    listed = (tmp_path / "site" / "snapshots" / "index.html").read_text()
    assert 'href="../snapshots/v1.0/index.html"' in listed
    assert sorted(p.name for p in (tmp_path / "site" / "snapshots").iterdir()) == ["index.html", "v1.0"]
    # Both the snapshot and the board beside it lead to the list, which a later board leaves as it is.
    build([run], tmp_path / "site")
    assert (tmp_path / "site" / "snapshots" / "index.html").read_text() == listed
    assert 'href="snapshots/index.html"' in (tmp_path / "site" / "about.html").read_text()
    assert 'href="../index.html"' in (page.parent / "about.html").read_text()
    assert "snapshot v1.0" in page.read_text() and "snapshot" not in (tmp_path / "site" / "index.html").read_text()


def test_a_board_without_snapshots_says_how_to_keep_one(make_run: Make, tmp_path: Path) -> None:
    build([make_run("one", 0.5, tasks=["mini-flag-t2i"])], tmp_path / "site")
    assert "--snapshot NAME" in (tmp_path / "site" / "snapshots" / "index.html").read_text()


@pytest.mark.parametrize(
    ("options", "packages", "text", "how"),
    [
        ({"backend": "onnx", "dtype": "int8"}, {"torch": "2.9"}, "onnx", "dtype int8"),
        ({"attention": "sdpa", "dtype": "auto"}, {"torch": "2.9"}, "torch 2.9", "attention sdpa"),
        ({}, {"torch": "2.9", "vllm": "0.11"}, "vllm 0.11", ""),
        ({"dtype": "float16"}, {}, "–", "no framework recorded"),
    ],
)
def test_the_backend_is_what_the_record_says(
    make_run: Make, options: dict[str, str], packages: dict[str, str], text: str, how: str
) -> None:
    run = make_run("one", reranker={"options": options}, record={"environment": packages})
    (board,) = _site(run).boards.values()
    shown = board.facts["one"]["backend"]
    assert shown.text == text and [words for _, words in shown.smalls] == ([how] if how else [])


def test_sizes_have_three_digits_and_a_unit() -> None:
    counts = (0, 999, 1000, 22_713_728, 999_999, 2_210_000_000, 8 * 10**9, 10**12)
    assert [format_parameters(count) for count in counts] == [
        "0",
        "999",
        "1 k",
        "22.7 M",
        "1 M",
        "2.21 B",
        "8 B",
        "1000 B",
    ]


def test_ranks_are_shown_at_first_only_where_there_are_some(make_run: Make) -> None:
    (ranked,) = _site(make_run("whole", 0.5)).boards.values()
    (bare,) = _site(make_run("part", 0.5, cover=MINI[:2])).boards.values()
    assert [board.tabs[0].heads[0].default for board in (ranked, bare)] == [True, False]


def test_the_server_gives_files_with_the_policy_and_lists_nothing(make_run: Make, tmp_path: Path) -> None:
    page = build([make_run("one", 0.5, tasks=["mini-flag-t2i"])], tmp_path / "site")
    (tmp_path / "secret.txt").write_text("secret")
    (page.parent / "link.txt").symlink_to(tmp_path / "secret.txt")
    with make_server(page.parent, 0) as running:
        assert running.server_address[0] == "127.0.0.1"
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            for path, status in (("/", 200), ("/data/", 404), ("/../secret.txt", 404), ("/link.txt", 404)):
                connection = HTTPConnection("127.0.0.1", running.server_port)
                connection.request("GET", path)
                answer = connection.getresponse()
                assert answer.status == status, path
                assert answer.getheader("Content-Security-Policy") == POLICY
                assert b"secret" not in answer.read()
                connection.close()
        finally:
            running.shutdown()
            thread.join()
