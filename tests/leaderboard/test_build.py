"""The board's data and files: which runs share a table, what is blank, what is refused, what hostile words become."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.data.task import load_suite, load_task
from mrb.errors import ResultError
from mrb.leaderboard.build import build
from mrb.leaderboard.charts.plots import make_panels
from mrb.leaderboard.page import format_speed
from mrb.leaderboard.tables.cells import escape_invisible, format_percent, format_signed
from mrb.leaderboard.tables.rows import AVERAGE_TASKS, AVERAGE_TYPES, SOURCE, Table
from mrb.leaderboard.tables.runs import make_card, read_runs
from mrb.leaderboard.tables.table_grouping import group_runs
from mrb.results.run import average_over_tasks, load_run
from mrb.results.table import format_run
from tests.builders.pages import read_pages

MakeRun = Callable[..., Path]
MINI = load_suite("mini").tasks


def _tables(*folders: Path) -> list[Table]:
    return [Table(comparison) for comparison in group_runs(read_runs(folders))]


def test_runs_that_compare_share_a_table_in_the_order_of_their_average(make_run: MakeRun) -> None:
    (table,) = _tables(make_run("weak", 0.1), make_run("strong", 0.8), make_run("middle", 0.4))
    assert [run.name for run in table.runs] == ["strong", "middle", "weak"]
    view = table.compute_view("nDCG@10")
    assert [row.role for row in view.fixed] == ["first stage", "oracle"]
    assert {column.key for column in view.columns} == set(MINI)
    assert [name for name, _ in view.families] == ["single", "cross", "fused"]
    assert sum(span for _, span in view.types) == len(MINI)


def test_cells_hold_what_the_results_hold(make_run: MakeRun) -> None:
    folder = make_run("one", 0.5)
    (table,) = _tables(folder)
    view = table.compute_view("Recall@5")
    for task_id in MINI:
        result = json.loads((folder / task_id / "result.json").read_text())
        cell = view.rows[0].cells[task_id]
        own, first = result["measures"]["Recall@5"], result["first_stage"]["Recall@5"]
        assert (cell.mean, cell.low, cell.high) == (own["mean"], own["low"], own["high"])
        assert cell.gain == own["mean"] - first["mean"]
        assert view.fixed[0].cells[task_id].mean == first["mean"]
        assert view.fixed[1].cells[task_id].mean == result["oracle"]["Recall@5"]["mean"]
    run = table.runs[0]
    average = average_over_tasks(run, table.comparison.task_ids, "Recall@5")
    assert view.rows[0].cells[AVERAGE_TASKS].mean == average.mean
    assert average.interval is not None
    assert view.rows[0].cells[AVERAGE_TASKS].low == average.interval.low


def test_a_missing_task_is_blank_and_leaves_no_average(make_run: MakeRun) -> None:
    (table,) = _tables(make_run("whole", 0.5), make_run("text", 0.9, cover=["mini-faq-t2t"]))
    assert [run.name for run in table.runs] == ["whole", "text"], "no average stands last, whatever its one number"
    row = table.compute_view("nDCG@10").rows[1]
    assert (row.done, row.of) == (1, 9)
    assert row.cells["mini-faq-t2t"].mean is not None
    assert row.cells["mini-flag-t2i"].mean is None
    assert row.cells["mini-flag-t2i"].note == "not covered"
    for name, noun in ((AVERAGE_TASKS, "tasks"), (AVERAGE_TYPES, "types")):
        assert row.cells[name].mean is None
        assert row.cells[name].note == f"only 1 of 9 {noun}"
    assert make_card(table.runs[1]).not_covered[0][1] == "queries are image"


def test_a_task_that_no_run_covers_leaves_first_stage_and_oracle_without_average(make_run: MakeRun) -> None:
    (table,) = _tables(make_run("text", 0.9, cover=["mini-faq-t2t"]))
    for row in table.compute_view("nDCG@10").fixed:
        assert row.cells["mini-flag-t2i"].mean is None
        assert row.cells[AVERAGE_TYPES].mean is None
    assert [panel.type for panel in make_panels(table.get_type_view(), {run.name: run.name for run in table.runs})] == [
        "t2t"
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"depth": 10}, "the depth"),
        ({"candidates": "cd" * 32}, "the candidate list"),
        ({"selection": "limit"}, "which queries are taken"),
        ({"queries": 30}, "the queries"),
        ({"qrels": "raw"}, "whether judgements outside the corpus count (raw) or not (cleaned) (all 9 shared tasks)"),
    ],
)
def test_what_does_not_compare_gets_a_table_of_its_own(
    make_run: MakeRun, changes: dict[str, object], words: str
) -> None:
    tables = _tables(make_run("a", 0.4), make_run("b", 0.5), make_run("other", 0.9, **changes))
    assert [[run.name for run in table.runs] for table in tables] == [["b", "a"], ["other"]]
    assert any(words in difference for difference in tables[1].comparison.differences)
    assert not tables[0].comparison.differences


@pytest.mark.parametrize(("field", "words"), [("task_hash", "definition"), ("revision", "data’s revision")])
def test_one_task_of_another_identity_keeps_the_run_out_of_the_table(make_run: MakeRun, field: str, words: str) -> None:
    other = make_run("other", 0.9)
    path = other / "mini-flag-t2i" / "result.json"
    result = json.loads(path.read_text())
    (result if field == "task_hash" else result["data"])[field] = "0" * 64
    path.write_text(json.dumps(result))
    tables = _tables(make_run("a", 0.4), make_run("b", 0.5), other)
    assert [len(table.runs) for table in tables] == [2, 1]
    (difference,) = tables[1].comparison.differences
    assert words.replace("’", "'") in difference and "mini-flag-t2i" in difference


def test_single_tasks_join_the_suite_where_they_fit_and_else_have_no_average(make_run: MakeRun) -> None:
    single = make_run("single", 0.9, suite=None, tasks=["mini-flag-t2i"])
    (joined,) = _tables(single, make_run("whole", 0.5))
    assert [run.name for run in joined.runs] == ["whole", "single"]
    (alone,) = _tables(single)
    assert alone.comparison.suite is None
    assert alone.compute_view("nDCG@10").averages == ()
    deep = make_run("deep", 0.9, suite=None, tasks=["mini-flag-t2i"], depth=10)
    assert [len(table.runs) for table in _tables(deep, make_run("whole", 0.5))] == [1, 1]


def test_the_view_of_the_sources_names_each_measure_and_averages_nothing(make_run: MakeRun) -> None:
    tasks = ("arxivqa", "flickr30k-t2i", "scifact")
    (table,) = _tables(make_run("some", 0.5, suite="mrb", tasks=tasks, depth=100))
    assert len(table.comparison.task_ids) == 40
    view = table.compute_view(SOURCE)
    assert view.averages == ()
    for column in view.columns:
        assert column.measure == load_task(column.key).source_measure
    result = table.comparison.reference["flickr30k-t2i"][1].result
    assert view.rows[0].cells["flickr30k-t2i"].mean == result.measures["HitRate@5"].mean
    types = table.get_type_view().rows[0]
    assert types.cells["t2vd"].note == "only 1 of 5 tasks"


def test_two_runs_that_disagree_on_the_first_stage_of_one_list_are_refused(make_run: MakeRun) -> None:
    other = make_run("b", 0.5)
    path = other / "mini-flag-t2i" / "result.json"
    result = json.loads(path.read_text())
    result["first_stage"]["nDCG@10"] = {"mean": 0.0, "low": 0.0, "high": 0.0}
    path.write_text(json.dumps(result))
    with pytest.raises(ResultError, match=r"first_stage nDCG@10 of mini-flag-t2i is 0\.0"):
        _tables(make_run("a", 0.4), other)


def _not_a_run(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _cut(folder: Path) -> None:
    path = folder / "mini-flag-t2i" / "result.json"
    path.write_bytes(path.read_bytes()[:-100])


def _raised(folder: Path) -> None:
    path = folder / "mini-flag-t2i" / "result.json"
    result = json.loads(path.read_text())
    result["measures"]["nDCG@10"] = {"mean": 0.9, "low": 0.9, "high": 0.9}
    path.write_text(json.dumps(result))


def _no_values(folder: Path) -> None:
    (folder / "mini-flag-t2i" / "per_query.parquet").unlink()


def _borrowed(folder: Path) -> None:
    path = folder / "mini-flag-t2i" / "result.json"
    result = json.loads(path.read_text())
    result["reranker"]["name"] = "somebody-else"
    path.write_text(json.dumps(result))


def _swapped(folder: Path) -> None:
    shutil.rmtree(folder / "mini-flag-t2i")
    shutil.copytree(folder / "mini-flag-i2t", folder / "mini-flag-t2i")


def _other_suite(folder: Path) -> None:
    path = folder / "run.json"
    path.write_text(path.read_text().replace('"suite_version": "', '"suite_version": "9'))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_not_a_run, "no run.json here"),
        (_cut, "mini-flag-t2i/result.json: not valid JSON"),
        (_raised, "nDCG@10 does not average to what"),
        (_no_values, "per_query.parquet"),
        (_borrowed, "mini-flag-t2i/result.json: not of the task and reranker"),
        (_swapped, "mini-flag-t2i/result.json: not of the task and reranker"),
        (_other_suite, "ran suite mini 9"),
    ],
)
def test_damage_is_refused_by_name_and_nothing_is_written(
    make_run: MakeRun, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    good, bad = make_run("good", 0.5), make_run("bad", 0.5)
    damage(bad)
    with pytest.raises(ResultError) as refused:
        build([good, bad], tmp_path / "site")
    assert words in str(refused.value)
    assert str(bad) in str(refused.value)
    assert not (tmp_path / "site").exists()


def test_names_that_would_meet_on_the_site_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    one = make_run("Model", 0.5, tasks=["mini-flag-t2i"])
    two = make_run("elsewhere/model", 0.5, tasks=["mini-flag-t2i"])
    with pytest.raises(ResultError, match="same name"):
        build([one, two], tmp_path / "site")
    assert len(read_runs([one, one / ".." / "Model"])) == 1, "one folder given twice is one run"


@pytest.mark.parametrize("name", ["con", "AUX.b", "com1", "dot."])
def test_a_folder_whose_name_is_no_file_everywhere_is_refused(make_run: MakeRun, tmp_path: Path, name: str) -> None:
    with pytest.raises(ResultError, match="Windows cannot have a file of this name"):
        build([make_run(name, 0.5, tasks=["mini-flag-t2i"])], tmp_path / "site")


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "a b", ".hidden", "-rf", "ab\u202egnp"])
def test_a_folder_whose_name_is_no_runs_is_refused(make_run: MakeRun, tmp_path: Path, name: str) -> None:
    with pytest.raises(ResultError, match="is named with letters"):
        build([make_run(name, 0.5, tasks=["mini-flag-t2i"])], tmp_path / "site")


def test_a_run_without_results_alone_is_nothing_to_show(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="nothing to show"):
        build([make_run("empty", 0.5, cover=[])], tmp_path / "site")
    (table,) = _tables(make_run("empty", 0.5, cover=[]), make_run("whole", 0.5))
    assert [(row.key, row.done) for row in table.compute_view("nDCG@10").rows] == [("whole", 9), ("empty", 0)]


@pytest.mark.slow
def test_the_track_of_the_lists_is_on_the_page_and_over_a_runs_table(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("one", 0.5)
    assert (
        "25 candidates a query · candidate set standard ·"
        in read_pages(build([folder], tmp_path / "site").parent)["index.html"].text
    )
    assert format_run(load_run(folder)).splitlines()[0].endswith("depth 25")
    for name in ("mini-flag-t2i", "mini-faq-t2t"):
        path = folder / name / "result.json"
        path.write_text(path.read_text().replace('"track": "standard"', '"track": "gme-2b"'))
    assert (
        "· candidate sets gme-2b and standard ·"
        in read_pages(build([folder], tmp_path / "mixed").parent)["index.html"].text
    )
    assert format_run(load_run(folder)).splitlines()[0].endswith("depth 25, candidate set gme-2b, standard")


def test_how_numbers_and_unseen_characters_are_written() -> None:
    assert format_percent(0.45678) == "45.68"
    assert [format_signed(x) for x in (0.0123, -0.0123, 0.0, -0.000001)] == ["+1.23", "−1.23", "0.00", "0.00"]
    assert [format_speed(x) for x in (0.1234, 12.34, 1234.5)] == ["0.123", "12.3", "1,234"]
    assert escape_invisible("plain – ü 旗") == "plain – ü 旗"
    assert escape_invisible("a\u200bb\n") == "a\\u{200b}b\\u{a}"
    assert escape_invisible(3) == 3
