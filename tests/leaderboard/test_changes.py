"""What differs between two boards, and what a snapshot's summary holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mrb.errors import ResultError
from mrb.leaderboard.board_summary import BoardSummary, RowSummary, TableSummary, read_summary, summarize_site
from mrb.leaderboard.changes import find_changes
from mrb.leaderboard.site import make_site
from mrb.leaderboard.tables.runs import read_entries

MakeRun = Callable[..., Path]


def _row(name: str, average: float | None = 0.5, rank: tuple[int, int] | None = (1, 2), means: str = "0") -> RowSummary:
    return RowSummary(name=name, average=average, rank=rank, tasks=9, means=means * 16)


def _board(*rows: RowSummary, version: str = "1.0", id: str = "mini-25") -> BoardSummary:
    table = TableSummary(id=id, title="MRB mini", suite="mini", suite_version=version, tasks=9, rows=rows)
    named = {"mrb_version": "1", "measure": "nDCG@10", "day": None, "snapshot": None, "number": 0}
    return BoardSummary(**named, tables=(table,))


def test_new_gone_and_changed_rows_are_told_apart() -> None:
    kept = _row("kept")
    old = _board(_row("gone"), kept, _row("moved"), _row("rescored"))
    new = _board(kept, _row("moved", rank=(2, 3)), _row("rescored", 0.6, means="1"), _row("new", None, None))
    (table,) = find_changes(old, new)
    assert (table.id, table.title) == ("mini-25", "MRB mini")
    assert [[row.name for row in rows] for rows in (table.new, table.gone)] == [["new"], ["gone"]]
    assert [(change.new.name, change.rescored) for change in table.changed] == [("moved", False), ("rescored", True)]
    assert table.versions is None
    assert find_changes(old, old) == []
    titled = [row.model_copy(update={"title": "Model (org)"}) for row in old.tables[0].rows]
    assert find_changes(old, _board(*titled)) == [], "a version of MRB that records titles changes no row"


def test_another_suite_version_and_another_table_are_said() -> None:
    (table,) = find_changes(_board(_row("a")), _board(_row("a"), version="1.1"))
    assert table.versions == ("1.0", "1.1") and not table.changed
    here, gone = find_changes(_board(_row("a")), _board(_row("b"), id="mini-10"))
    assert [row.name for row in here.new] == ["b"] and [row.name for row in gone.gone] == ["a"]


def test_a_summary_holds_what_the_table_shows_and_is_read_back(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("good", 0.9, queries=12), make_run("part", 0.9, cover=["mini-flag-t2i"], queries=12)]
    site = make_site(read_entries(runs))
    summary = summarize_site(replace(site, snapshot="v1", snapshot_number=3))
    ((table,), (board,)) = summary.tables, site.boards.values()
    first, second = table.rows
    assert first.average == board.table.get_view("nDCG@10").row("good").cells["types"].mean
    assert (first.rank, second.average, second.rank, second.tasks) == ((1, 1), None, None, 1)
    assert table.leader == first and summary.day == "2026-11-27" and (summary.snapshot, summary.number) == ("v1", 3)
    path = tmp_path / "board.json"
    path.write_text(summary.model_dump_json())
    assert read_summary(path) == summary
    for damage in ("../../x", "a b", "<b>"):
        path.write_text(summary.model_dump_json().replace('"good"', f'"{damage}"'))
        with pytest.raises(ResultError, match=r"board\.json: .*name"):
            read_summary(path)
